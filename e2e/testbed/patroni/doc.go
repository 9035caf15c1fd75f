// Package patroni runs a private Patroni cluster for tests: the real etcd, Patroni and
// PostgreSQL, each member with a Patroni of its own, on free loopback ports and in
// temporary directories. Debian's packages patroni and etcd-server bring the programs.
//
// Guarantees: a [Cluster] that was started has a leader that takes writes, and standbys
// that follow it. Ports never change. Nothing is left of it after Close. If the program
// that started it dies, etcd and each Patroni end at once, and the PostgreSQLs within a
// minute, when they miss their directories.
//
// The servers trust everybody on the loopback interface and do not sync to disk.
//
// Concurrency: all methods are safe for concurrent use.
package patroni
