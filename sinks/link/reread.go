package link

// Reread returns a secret as it is now: what read returns, or text if read is nil.
// It is called for each connection, so that a secret that was rotated is used
// without a restart. read may block only for as long as reading a file takes.
func Reread(text string, read func() (string, error)) (string, error) {
	if read == nil {
		return text, nil
	}
	return read()
}
