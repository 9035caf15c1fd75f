package imagebuild

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
)

// epoch is when everything in an image was made.
var epoch = time.Unix(0, 0).UTC()

// assemble makes the image of stages that copy and describe.
func (p *plan) assemble(ctx context.Context, chain []int) (v1.Image, error) {
	if runs, err := p.inRoom(chain); err != nil {
		return nil, err
	} else if runs {
		return nil, fmt.Errorf("%s holds a whole machine and is no image", p.stages[chain[len(chain)-1]].OrigCmd)
	}
	image := empty.Image
	config := &v1.ConfigFile{OS: "linux", Architecture: runtime.GOARCH, Created: v1.Time{Time: epoch}}
	image, err := mutate.ConfigFile(image, config)
	if err != nil {
		return nil, err
	}
	var described v1.Config
	for _, s := range chain {
		args := map[string]string{}
		for _, command := range p.stages[s].Commands {
			if c, ok := command.(*instructions.CopyCommand); ok {
				if image, err = p.addLayer(ctx, image, c, args); err != nil {
					return nil, err
				}
				continue
			}
			if err := p.describe(&described, args, command); err != nil {
				return nil, err
			}
		}
	}
	return mutate.Config(image, described)
}

// describe applies what changes no file.
func (p *plan) describe(config *v1.Config, args map[string]string, command instructions.Command) error {
	switch c := command.(type) {
	case *instructions.ArgCommand:
		return p.declare(args, c)
	case *instructions.LabelCommand:
		if config.Labels == nil {
			config.Labels = map[string]string{}
		}
		for _, label := range c.Labels {
			value, err := expand(label.Value, args)
			if err != nil {
				return err
			}
			config.Labels[label.Key] = strings.Trim(value, `"`)
		}
	case *instructions.UserCommand:
		config.User = c.User
	case *instructions.EntrypointCommand:
		if c.PrependShell {
			return fmt.Errorf("ENTRYPOINT %v needs a shell, which the image does not have", c.CmdLine)
		}
		config.Entrypoint = c.CmdLine
	case *instructions.HealthCheckCommand:
		if c.Health.Test[0] != "CMD" {
			return fmt.Errorf("HEALTHCHECK %v needs a shell, which the image does not have", c.Health.Test)
		}
		config.Healthcheck = &v1.HealthConfig{
			Test: c.Health.Test, Interval: c.Health.Interval, Timeout: c.Health.Timeout,
			StartPeriod: c.Health.StartPeriod, Retries: c.Health.Retries,
		}
	default:
		return fmt.Errorf("%s is not understood in a stage that is an image", command.Name())
	}
	return nil
}

// addLayer adds the one file of a COPY.
func (p *plan) addLayer(ctx context.Context, image v1.Image, c *instructions.CopyCommand, args map[string]string) (v1.Image, error) {
	if len(c.SourcePaths) != 1 || strings.HasSuffix(c.DestPath, "/") {
		return nil, fmt.Errorf("%s: copy one file, to a path that names it", c)
	}
	source, err := expand(c.SourcePaths[0], args)
	if err != nil {
		return nil, err
	}
	from := filepath.Join(p.context(), source)
	if c.From != "" {
		stage := p.find(c.From)
		if stage < 0 {
			return nil, fmt.Errorf("%s: there is no stage %s", c, c.From)
		}
		if from, err = p.export(ctx, stage, source); err != nil {
			return nil, err
		}
	}
	text, err := layerOf(from, c.DestPath)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c, err)
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(text)), nil })
	if err != nil {
		return nil, err
	}
	return mutate.Append(image, mutate.Addendum{Layer: layer, History: v1.History{CreatedBy: c.String(), Created: v1.Time{Time: epoch}}})
}

// layerOf is the archive of one file and its directories.
func layerOf(from, to string) ([]byte, error) {
	content, err := os.ReadFile(from)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(from)
	if err != nil {
		return nil, err
	}
	headers := map[string]*tar.Header{}
	name := strings.TrimPrefix(path.Clean(to), "/")
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		headers[dir+"/"] = &tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: 0o755, ModTime: epoch}
	}
	headers[name] = &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: int64(info.Mode().Perm()), Size: int64(len(content)), ModTime: epoch}
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	for _, key := range slices.Sorted(maps.Keys(headers)) {
		if err := w.WriteHeader(headers[key]); err != nil {
			return nil, err
		}
	}
	if _, err := w.Write(content); err != nil { // the file sorts after its directories
		return nil, err
	}
	return archive.Bytes(), w.Close()
}

// Unpack writes an image's files below root.
func Unpack(image v1.Image, root string) error {
	stream := mutate.Extract(image)
	defer func() { _ = stream.Close() }()
	archive := tar.NewReader(stream)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read image: %w", err)
		}
		name := filepath.Join(root, filepath.FromSlash(path.Join("/", header.Name)))
		switch header.Typeflag {
		case tar.TypeDir:
			err = os.MkdirAll(name, fs.FileMode(header.Mode))
		case tar.TypeReg:
			err = unpackFile(name, fs.FileMode(header.Mode), archive)
		default:
			err = fmt.Errorf("entry of type %c is not expected", header.Typeflag)
		}
		if err != nil {
			return fmt.Errorf("unpack %s: %w", header.Name, err)
		}
	}
}

func unpackFile(name string, mode fs.FileMode, content io.Reader) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	text, err := io.ReadAll(content)
	if err != nil {
		return err
	}
	return os.WriteFile(name, text, mode)
}
