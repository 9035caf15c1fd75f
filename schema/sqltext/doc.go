// Package sqltext is what every package that sends SQL to PostgreSQL needs: names and
// texts as SQL writes them, statements that are files with named parameters, rows that
// are read by the names of their columns, and the codes of the server's errors. It
// knows no table and no session.
package sqltext
