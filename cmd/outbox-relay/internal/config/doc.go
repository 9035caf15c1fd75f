// Package config reads the relay's configuration from environment variables.
//
// [Load] is a function of the environment it is given and of the files that the
// _FILE forms name; it changes nothing and keeps nothing. (The PostgreSQL driver
// itself also heeds libpq's variables, such as PGPASSWORD or PGSSLROOTCERT. Those
// that it does not know, and that ask for safety, are faults.)
//
// A configuration is taken whole or not at all: every fault is reported at
// once, in [Faults], each by the name of its variable, its value and what is
// expected of it. Names that start with OUTBOX_ and are not known are faults,
// except those that Kubernetes injects for a Service. An empty value means the
// default, except where empty is documented as a value.
//
// No secret reaches an error, a log or a printed [Config]: secrets are of type
// [Secret], and the errors of the libraries, which quote their input, are
// rewritten.
package config
