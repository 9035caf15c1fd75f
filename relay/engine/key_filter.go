package engine

import "hash/maphash"

// keyFilter is a set of keys in a fixed amount of memory, however many there are. It
// knows each key that was added. It also takes some other keys for members: one in
// fifty when it has ten million. After each clear that is a different one in fifty, so
// no key is mistaken for long. The zero value is empty.
type keyFilter struct {
	bits []uint64
	seed maphash.Seed
	keys int // how many were added
}

// filterWords is the size in words: 16 MiB.
const filterWords = 1 << 21

func (f *keyFilter) add(key string) {
	if f.keys == 0 {
		f.seed = maphash.MakeSeed()
	}
	if f.bits == nil {
		f.bits = make([]uint64, filterWords)
	}
	f.keys++
	for _, bit := range f.places(key) {
		f.bits[bit/64] |= 1 << (bit % 64)
	}
}

func (f *keyFilter) has(key string) bool {
	if f.keys == 0 {
		return false
	}
	for _, bit := range f.places(key) {
		if f.bits[bit/64]&(1<<(bit%64)) == 0 {
			return false
		}
	}
	return true
}

// places are the two bits of a key.
func (f *keyFilter) places(key string) [2]uint64 {
	h := maphash.String(f.seed, key)
	return [2]uint64{h % (64 * filterWords), (h >> 32) % (64 * filterWords)}
}

func (f *keyFilter) clear() {
	if f.keys > 0 {
		clear(f.bits)
		f.keys = 0
	}
}
