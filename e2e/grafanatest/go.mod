module github.com/outbox-relay/outbox-relay/e2e/grafanatest

go 1.26.8

require github.com/grafana/grafana-foundation-sdk/go v0.0.22
