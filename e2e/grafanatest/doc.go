// Package grafanatest has Grafana's own schema judge the dashboard, strictly: a field that
// Grafana does not know is a fault. It is a module of its own for the sake of that schema.
package grafanatest
