package deploytest

import (
	"context"
	"debug/elf"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/client/llb/sourceresolver"
	"github.com/moby/buildkit/frontend/dockerfile/dockerfile2llb"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerui"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/outbox-relay/outbox-relay/e2e/deploytest/imagebuild"
	"github.com/outbox-relay/outbox-relay/e2e/testbed"
)

const (
	root    = "../.." // of the project
	version = "v0.0.0-test"
	// maxImage is the most that all files of the image may take.
	maxImage = 30 << 20
)

// needRoot skips what only root can do.
func needRoot(t *testing.T) {
	t.Helper()
	if runtime.GOOS != "linux" || os.Geteuid() != 0 {
		t.Skip("needs Linux and root: mounts and namespaces")
	}
}

// buildRelay builds the relay's image, and unpacks it to a directory that all tests
// share.
var buildRelay = sync.OnceValues(func() (built, error) {
	return build(filepath.Join(root, "Dockerfile"), nil)
})

// built is an image and where its files are.
type built struct {
	image v1.Image
	root  string
}

func build(dockerfile string, env []string) (built, error) {
	work, err := os.MkdirTemp(scratch, "image-")
	if err != nil {
		return built{}, err
	}
	image, err := imagebuild.Build{
		Dockerfile: dockerfile, Context: root, Work: work, Env: env,
		Args: map[string]string{"VERSION": version, "REVISION": "0123abc"},
	}.Image(context.Background())
	if err != nil {
		return built{}, err
	}
	files := filepath.Join(work, "root")
	return built{image, files}, imagebuild.Unpack(image, files)
}

// relayImage is the relay's image, built once.
func relayImage(t *testing.T) built {
	t.Helper()
	needRoot(t)
	image, err := buildRelay()
	if err != nil {
		t.Fatal(err)
	}
	return image
}

// scratch is the directory of all tests. It goes with this process, however it ends.
var scratch string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := testbed.NewDir("deploytest-", nil)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = dir.Close() }()
	scratch = dir.Path()
	// Users without rights have to get in.
	if err := os.Chmod(scratch, 0o755); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// TestDockerfilesHaveNoLintWarning asks BuildKit, which warns of the same in docker
// build --check.
func TestDockerfilesHaveNoLintWarning(t *testing.T) {
	for _, name := range []string{"Dockerfile", "deploy/app/Dockerfile"} {
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile(filepath.Join(root, name))
			if err != nil {
				t.Fatal(err)
			}
			if found := lint(t, text); len(found) > 0 {
				t.Errorf("BuildKit warns:\n%s", strings.Join(found, "\n"))
			}
		})
	}
	// Or the linter was asked wrongly.
	if found := lint(t, []byte("FROM scratch as base\nMAINTAINER me\nCMD run\n")); len(found) < 3 {
		t.Errorf("of three faults BuildKit warns of %q", found)
	}
}

// noRegistry knows nothing of the images that others made: nobody is asked.
type noRegistry struct{}

func (noRegistry) ResolveImageConfig(_ context.Context, ref string, _ sourceresolver.Opt) (string, digest.Digest, []byte, error) {
	return ref, "", []byte("{}"), nil
}

func lint(t *testing.T, text []byte) []string {
	t.Helper()
	source := llb.NewSourceMap(nil, "Dockerfile", "Dockerfile", text)
	source.Definition = &llb.Definition{} // it is asked for, and not used
	results, err := dockerfile2llb.DockerfileLint(t.Context(), text, dockerfile2llb.ConvertOpt{
		Config:         dockerui.Config{LinterConfig: &linter.Config{ExperimentalAll: true}},
		SourceMap:      source,
		MetaResolver:   noRegistry{},
		TargetPlatform: &ocispecs.Platform{OS: "linux", Architecture: runtime.GOARCH},
	})
	if err != nil {
		t.Fatal(err)
	}
	if results.Error != nil {
		t.Fatal(results.Error.Message)
	}
	var found []string
	for _, w := range results.Warnings {
		found = append(found, w.RuleName+": "+w.Detail)
	}
	return found
}

// TestImageHoldsTheBinaryAndTheAuthoritiesOnly also looks at the size, and at how the
// binary is linked.
func TestImageHoldsTheBinaryAndTheAuthoritiesOnly(t *testing.T) {
	image := relayImage(t)
	var files []string
	var size int64
	err := filepath.WalkDir(image.root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		size += info.Size()
		files = append(files, strings.TrimPrefix(path, image.root))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"/etc/ssl/certs/ca-certificates.crt", "/outbox-relay"}; !slices.Equal(files, want) {
		t.Errorf("the image holds %q, want %q", files, want)
	}
	t.Logf("the files of the image have %.1f MB", float64(size)/1e6)
	if size > maxImage {
		t.Errorf("the files of the image have %d bytes, want at most %d", size, int64(maxImage))
	}
	binary, err := elf.Open(filepath.Join(image.root, "outbox-relay"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = binary.Close() }()
	for _, part := range binary.Progs {
		if part.Type == elf.PT_INTERP || part.Type == elf.PT_DYNAMIC {
			t.Errorf("the binary has a segment %s: it is not static", part.Type)
		}
	}
}

func TestImageSaysWhatItIs(t *testing.T) {
	file, err := relayImage(t).image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	c := file.Config
	if c.User != "65532:65532" {
		t.Errorf("the image runs as %q, want a number that is not root's", c.User)
	}
	if !slices.Equal(c.Entrypoint, []string{"/outbox-relay"}) {
		t.Errorf("the image starts %q", c.Entrypoint)
	}
	if c.Healthcheck == nil || !slices.Equal(c.Healthcheck.Test, []string{"CMD", "/outbox-relay", "health"}) {
		t.Errorf("the image's health check is %+v", c.Healthcheck)
	}
	const prefix = "org.opencontainers.image."
	for label, want := range map[string]string{"version": version, "revision": "0123abc", "licenses": "Apache-2.0", "title": "outbox-relay"} {
		if got := c.Labels[prefix+label]; got != want {
			t.Errorf("the label %s is %q, want %q", label, got, want)
		}
	}
	for _, label := range []string{"description", "source"} {
		if c.Labels[prefix+label] == "" {
			t.Errorf("the image has no label %s", label)
		}
	}
}

// TestImageIsReproducible builds a second time, without what the first build has
// compiled.
func TestImageIsReproducible(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles everything again")
	}
	first := relayImage(t)
	cache := t.TempDir()
	second, err := build(filepath.Join(root, "Dockerfile"), []string{"GOCACHE=" + cache})
	if err != nil {
		t.Fatal(err)
	}
	a, err := first.image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	b, err := second.image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	if a != b {
		x, _ := first.image.RawManifest()
		y, _ := second.image.RawManifest()
		t.Errorf("two builds differ:\n%s\n%s", indent(x), indent(y))
	}
	t.Logf("digest %s", a)
}

func indent(text []byte) string {
	var v any
	if err := json.Unmarshal(text, &v); err != nil {
		return string(text)
	}
	pretty, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return string(text)
	}
	return string(pretty)
}
