package deploytest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/types"
)

// patience is how long what must happen soon may take.
const patience = 90 * time.Second

// TestComposeInside is the part of TestComposeDeliversAnOrder that runs within its
// namespaces.
func TestComposeInside(t *testing.T) {
	broker := os.Getenv(inside)
	if broker == "" {
		t.Skip("is run by TestComposeDeliversAnOrder")
	}
	c := &composition{t: t, project: loadCompose(t, brokers[broker]...), started: map[string]*container{}}
	c.enter()
	for _, name := range c.project.ServiceNames() {
		// Nothing here can stand for Grafana; TestGrafanaFindsTheDashboard has its files.
		if name != "grafana" {
			c.up(name)
		}
	}
	c.await("the application takes an order", func() bool { return order(t.Context()) })
	consumer := c.started["consumer"]
	c.await("the consumer has received it", func() bool {
		return strings.Contains(consumer.output(), `received orders.created`) && strings.Contains(consumer.output(), `"customer":"inside"`)
	})
	c.await("Prometheus has scraped the relay", func() bool { return scraped(t.Context()) })
	c.await("the relay's health check succeeds", c.started["relay"].healthy)
	c.started["relay"].stop(time.Duration(*c.project.Services["relay"].StopGracePeriod))
}

// order asks the application as the file's first lines say.
func order(ctx context.Context) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://localhost:8080/orders", strings.NewReader(`{"customer": "inside", "total": 9.90}`))
	if err != nil {
		return false
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return false
	}
	defer func() { _ = response.Body.Close() }()
	return response.StatusCode == http.StatusCreated
}

// scraped asks Prometheus for a metric of the relay that has published.
func scraped(ctx context.Context) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost:9090/api/v1/query?query=sum(outbox_published_total)", nil)
	if err != nil {
		return false
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return false
	}
	defer func() { _ = response.Body.Close() }()
	var answer struct {
		Data struct {
			Result []struct {
				Value [2]any `json:"value"`
			} `json:"result"`
		} `json:"data"`
	}
	return json.NewDecoder(response.Body).Decode(&answer) == nil && len(answer.Data.Result) == 1 && answer.Data.Result[0].Value[1] == "1"
}

// composition is the services of a project that run.
type composition struct {
	t       *testing.T
	project *types.Project
	started map[string]*container
}

// enter makes the namespaces a network of containers: every service is at its name.
func (c *composition) enter() {
	c.t.Helper()
	hosts := "127.0.0.1 localhost " + strings.Join(c.project.ServiceNames(), " ") + "\n"
	path := filepath.Join(c.t.TempDir(), "hosts")
	if err := os.WriteFile(path, []byte(hosts), 0o644); err != nil {
		c.t.Fatal(err)
	}
	for _, args := range [][]string{{"ip", "link", "set", "lo", "up"}, {"mount", "--bind", path, "/etc/hosts"}, {"hostname", "localhost"}} {
		if out, err := exec.CommandContext(c.t.Context(), args[0], args[1:]...).CombinedOutput(); err != nil {
			c.t.Fatalf("%q: %v\n%s", args, err, out)
		}
	}
}

// up starts a service after those that it depends on, as they are to be.
func (c *composition) up(name string) {
	c.t.Helper()
	if c.started[name] != nil {
		return
	}
	service := c.project.Services[name]
	for _, other := range service.GetDependencies() {
		c.up(other)
		on := c.started[other]
		switch condition := service.DependsOn[other].Condition; condition {
		case types.ServiceConditionHealthy:
			c.await(other+" is healthy", on.healthy)
		case types.ServiceConditionCompletedSuccessfully:
			select {
			case <-on.ended:
			case <-time.After(patience):
				c.t.Fatalf("%s has not ended:\n%s", other, on.output())
			}
			if on.err != nil {
				c.t.Fatalf("%s failed: %v\n%s", other, on.err, on.output())
			}
		default:
			c.t.Fatalf("%s depends on %s with the condition %s, which the test does not know", name, other, condition)
		}
	}
	c.started[name] = startContainer(c.t, service)
}

func (c *composition) await(what string, is func() bool) {
	c.t.Helper()
	deadline := time.Now().Add(patience)
	for !is() {
		if time.Now().After(deadline) {
			for name, one := range c.started {
				c.t.Logf("%s wrote:\n%s", name, one.output())
			}
			c.t.Fatalf("after %v it is not so that %s", patience, what)
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-c.t.Context().Done():
			c.t.Fatal(c.t.Context().Err())
		}
	}
}

// container is a service that was started.
type container struct {
	t       *testing.T
	service types.ServiceConfig
	image   standIn
	cmd     *exec.Cmd
	ended   chan struct{}
	err     error // once it has ended

	mu  sync.Mutex
	out bytes.Buffer
}

func startContainer(t *testing.T, service types.ServiceConfig) *container {
	t.Helper()
	name, _, _ := strings.Cut(service.Image, ":")
	image, ok := standIns[name]
	if !ok {
		t.Fatalf("nothing here stands for the image %s of %s", service.Image, service.Name)
	}
	c := &container{t: t, service: service, image: image, ended: make(chan struct{})}
	command := service.Command
	if len(command) == 0 {
		command = image.command
	}
	script := image.enter(service) + "\nexec chroot " + image.user + " \"$ROOT\" " + image.entrypoint + ` "$@"`
	c.cmd = exec.Command("unshare", append([]string{"--mount", "sh", "-c", script, service.Name}, command...)...)
	c.cmd.Env = c.environ()
	c.cmd.Stdout, c.cmd.Stderr = c, c
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.cmd.WaitDelay = 5 * time.Second
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		c.err = c.cmd.Wait()
		close(c.ended)
	}()
	return c
}

// environ is what the container's process gets: what the image has, then what the file
// says, and nothing of ours.
func (c *container) environ() []string {
	env := slices.Concat([]string{"ROOT=" + c.image.root(c.t, c.service), "PATH=" + path}, c.image.env)
	for name, value := range c.service.Environment {
		if value != nil {
			env = append(env, name+"="+*value)
		}
	}
	return env
}

// Write takes the process's output.
func (c *container) Write(text []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.out.Write(text)
}

func (c *container) output() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.out.String()
}

// healthy runs the check of the file, or else the image's.
func (c *container) healthy() bool {
	check := c.image.healthcheck
	if c.service.HealthCheck != nil {
		check = c.service.HealthCheck.Test
	}
	if len(check) < 2 || check[0] != "CMD" {
		c.t.Fatalf("%s has no health check that can be run: %q", c.service.Name, check)
	}
	// In the container: the process's own root and mounts.
	cmd := exec.CommandContext(c.t.Context(), "nsenter",
		append([]string{fmt.Sprintf("--target=%d", c.cmd.Process.Pid), "--mount", "--root", "--wd"}, check[1:]...)...)
	cmd.Env = c.environ()
	return cmd.Run() == nil
}

// stop asks the process to end, which it has to do in time and without an error.
func (c *container) stop(within time.Duration) {
	c.t.Helper()
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		c.t.Fatal(err)
	}
	select {
	case <-c.ended:
	case <-time.After(within):
		c.t.Fatalf("%s has not ended within %v:\n%s", c.service.Name, within, c.output())
	}
	if c.err != nil {
		c.t.Errorf("%s ended with %v:\n%s", c.service.Name, c.err, c.output())
	}
}
