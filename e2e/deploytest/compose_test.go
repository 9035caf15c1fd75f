package deploytest

import (
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"

	"github.com/outbox-relay/outbox-relay/e2e/deploytest/imagebuild"
)

const composeFile = root + "/deploy/compose.yaml"

// loadCompose reads the file as docker compose does, with the files of --env-file.
func loadCompose(t *testing.T, envFiles ...string) *types.Project {
	t.Helper()
	options, err := cli.NewProjectOptions([]string{composeFile},
		cli.WithEnvFiles(envFiles...), cli.WithDotEnv, cli.WithDefaultProfiles(), cli.WithResolvedPaths(true))
	if err != nil {
		t.Fatal(err)
	}
	project, err := options.LoadProject(t.Context())
	if err != nil {
		t.Fatalf("docker compose would refuse %s: %v", composeFile, err)
	}
	return project
}

// brokers are the two ways in which the file says to start it.
var brokers = map[string][]string{
	"nats":     nil,
	"rabbitmq": {root + "/deploy/compose/rabbitmq.env"},
}

func TestComposeFileNamesNothingThatDoesNotExist(t *testing.T) {
	for broker, envFiles := range brokers {
		project := loadCompose(t, envFiles...)
		if _, ok := project.Services[broker]; !ok {
			t.Errorf("for %s there is no service %s, only %q", broker, broker, project.ServiceNames())
		}
		for _, s := range project.Services {
			for _, v := range s.Volumes {
				if v.Type == types.VolumeTypeBind {
					demandFile(t, s.Name+" mounts", v.Source)
				}
			}
			if s.Build != nil {
				demandFile(t, s.Name+" is built from", filepath.Join(s.Build.Context, s.Build.Dockerfile))
			}
			if s.Image == "" || strings.HasSuffix(s.Image, ":latest") {
				t.Errorf("%s has the image %q, want one with a name and, where it is pulled, a version", s.Name, s.Image)
			}
		}
	}
}

func demandFile(t *testing.T, what, path string) {
	t.Helper()
	if _, err := os.Stat(path); err != nil {
		t.Errorf("%s what is not there: %v", what, err)
	}
}

// TestComposedRelayIsConfinedAndHasTimeToEnd: what Kubernetes' manifests have, this
// has too.
func TestComposedRelayIsConfinedAndHasTimeToEnd(t *testing.T) {
	relay := loadCompose(t).Services["relay"]
	if !relay.ReadOnly || !slices.Equal(relay.CapDrop, []string{"ALL"}) || !slices.Contains(relay.SecurityOpt, "no-new-privileges:true") {
		t.Errorf("the relay may write to its root, or has capabilities: %v %v %v", relay.ReadOnly, relay.CapDrop, relay.SecurityOpt)
	}
	const defaultGrace = 20 * time.Second // of OUTBOX_SHUTDOWN_GRACE
	if relay.StopGracePeriod == nil || time.Duration(*relay.StopGracePeriod) <= defaultGrace+closing(t) {
		t.Errorf("the relay has %v to end, want more than %v", relay.StopGracePeriod, defaultGrace+closing(t))
	}
}

// TestGrafanaFindsTheDashboard follows what Grafana would: its source is the service
// that runs Prometheus, and the directory of its dashboards is where one is mounted.
func TestGrafanaFindsTheDashboard(t *testing.T) {
	project := loadCompose(t)
	mounted := map[string]string{}
	for _, v := range project.Services["grafana"].Volumes {
		mounted[v.Target] = v.Source
	}
	var sources struct {
		APIVersion  int `json:"apiVersion"`
		Datasources []struct {
			Name, Type, Access, URL string
			IsDefault               bool `json:"isDefault"`
		}
	}
	readYAML(t, mounted["/etc/grafana/provisioning/datasources/prometheus.yml"], &sources)
	if len(sources.Datasources) != 1 || !sources.Datasources[0].IsDefault {
		t.Fatalf("Grafana has the sources %+v, want one, which is the default", sources.Datasources)
	}
	source, err := url.Parse(sources.Datasources[0].URL)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := project.Services[source.Hostname()]; !ok || source.Port() != "9090" {
		t.Errorf("Grafana asks %s, which is no service", source)
	}
	var dashboards struct {
		APIVersion int `json:"apiVersion"`
		Providers  []struct {
			Name, Type string
			Options    struct{ Path string }
		}
	}
	readYAML(t, mounted["/etc/grafana/provisioning/dashboards/outbox-relay.yml"], &dashboards)
	if len(dashboards.Providers) != 1 {
		t.Fatalf("Grafana has the providers %+v, want one", dashboards.Providers)
	}
	var dashboard struct{ Title string }
	readYAMLLoosely(t, mounted[dashboards.Providers[0].Options.Path+"/outbox-relay.json"], &dashboard)
	if dashboard.Title == "" {
		t.Error("the dashboard has no title")
	}
}

// inside tells the test binary that it is the one within the namespaces; its value is
// the broker.
const inside = "DEPLOYTEST_INSIDE"

// TestComposeDeliversAnOrder runs what docker compose up would: the file's own
// commands and environments, in the order in which services depend on each other, with
// the ports and host names that the file has. It needs no engine: images that are
// built here run from their own root, and the servers of this machine stand for those
// that would be pulled. All of it is in namespaces of its own, and ends with them.
func TestComposeDeliversAnOrder(t *testing.T) {
	needRoot(t)
	relay := relayImage(t)
	app := buildApp(t)
	nats := buildNATS(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for broker := range brokers {
		t.Run(broker, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), "unshare", "--net", "--mount", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc",
				self, "-test.run=^TestComposeInside$", "-test.v", "-test.timeout=5m")
			cmd.Env = append(os.Environ(), inside+"="+broker, "RELAY_ROOT="+relay.root, "APP_ROOT="+app, "NATS_SERVER="+nats)
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Errorf("%v\n%s", err, out)
			}
			t.Logf("%s", out)
		})
	}
}

// buildApp builds the application's image and returns where its files are.
func buildApp(t *testing.T) string {
	t.Helper()
	dir := root + "/deploy/app"
	work := t.TempDir()
	image, err := imagebuild.Build{Dockerfile: dir + "/Dockerfile", Context: dir, Work: work}.Image(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	files := filepath.Join(work, "root")
	if err := imagebuild.Unpack(image, files); err != nil {
		t.Fatal(err)
	}
	return files
}

// buildNATS builds the server that stands for the image nats.
func buildNATS(t *testing.T) string {
	t.Helper()
	path := filepath.Join(scratch, "nats-server")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", path, "github.com/nats-io/nats-server/v2").CombinedOutput(); err != nil {
		t.Fatalf("build the NATS server: %v\n%s", err, out)
	}
	return path
}
