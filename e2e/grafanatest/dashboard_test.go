package grafanatest

import (
	"errors"
	"os"
	"testing"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

func TestGrafanasSchemaTakesTheDashboard(t *testing.T) {
	plugins.RegisterDefaultPlugins() // panels and queries are decoded strictly too
	text, err := os.ReadFile("../../deploy/grafana/outbox-relay.json")
	if err != nil {
		t.Fatal(err)
	}
	var d dashboard.Dashboard
	// No fault is an empty list, not nil.
	err = d.UnmarshalJSONStrict(text)
	var faults cog.BuildErrors
	if err != nil && (!errors.As(err, &faults) || len(faults) > 0) {
		t.Fatal(err)
	}
	if err := d.Validate(); err != nil {
		t.Error(err)
	}
	if len(d.Panels) < 8 {
		t.Errorf("%d panels", len(d.Panels))
	}
}
