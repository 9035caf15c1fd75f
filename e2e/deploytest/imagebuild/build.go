package imagebuild

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
)

// Build is one call of docker build.
type Build struct {
	Dockerfile string
	Context    string            // the directory that is sent
	Target     string            // the stage; the last one if empty
	Args       map[string]string // --build-arg
	Env        []string          // beside the machine's own environment, for RUN
	Work       string            // an empty directory for what is in between
}

// Image builds. The image has one layer for each COPY of its final stages, with all
// times at the epoch, as docker build --output rewrite-timestamp=true makes it.
func (b Build) Image(ctx context.Context) (v1.Image, error) {
	p, err := b.plan()
	if err != nil {
		return nil, err
	}
	target := len(p.stages) - 1
	if b.Target != "" {
		if target = p.find(b.Target); target < 0 {
			return nil, fmt.Errorf("%s has no stage %q", b.Dockerfile, b.Target)
		}
	}
	if err := copyContext(b.Context, p.context()); err != nil {
		return nil, fmt.Errorf("send %s: %w", b.Context, err)
	}
	chain, err := p.chain(target)
	if err != nil {
		return nil, err
	}
	return p.assemble(ctx, chain)
}

// plan is a Dockerfile that was read, and where its build is.
type plan struct {
	Build
	stages []instructions.Stage
	args   map[string]string // those of before the first FROM, with the platform's
	rooms  map[int]string    // where the exported files of a stage that ran are
}

func (b Build) plan() (*plan, error) {
	text, err := os.ReadFile(b.Dockerfile)
	if err != nil {
		return nil, err
	}
	tree, err := parser.Parse(bytes.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("parse %s: %w", b.Dockerfile, err)
	}
	stages, meta, err := instructions.Parse(tree.AST, nil)
	if err != nil {
		return nil, fmt.Errorf("parse %s: %w", b.Dockerfile, err)
	}
	p := &plan{Build: b, stages: stages, rooms: map[int]string{}}
	platform := "linux/" + runtime.GOARCH
	p.args = map[string]string{
		"BUILDPLATFORM": platform, "TARGETPLATFORM": platform, "TARGETOS": "linux", "TARGETARCH": runtime.GOARCH,
	}
	for _, command := range meta {
		if err := p.declare(p.args, &command); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func (p *plan) context() string { return filepath.Join(p.Work, "context") }

// declare adds the variables of an ARG to those of a stage.
func (p *plan) declare(args map[string]string, command *instructions.ArgCommand) error {
	for _, arg := range command.Args {
		if given, ok := p.Args[arg.Key]; ok {
			args[arg.Key] = given
			continue
		}
		if arg.Value == nil {
			args[arg.Key] = p.args[arg.Key]
			continue
		}
		value, err := expand(*arg.Value, args)
		if err != nil {
			return err
		}
		args[arg.Key] = value
	}
	return nil
}

// find is the number of a stage by its name or number, or -1.
func (p *plan) find(name string) int {
	for i, s := range p.stages {
		if strings.EqualFold(s.Name, name) {
			return i
		}
	}
	if n, err := strconv.Atoi(name); err == nil && n >= 0 && n < len(p.stages) {
		return n
	}
	return -1
}

// chain is a stage with those that it is made from, the first one first.
func (p *plan) chain(stage int) ([]int, error) {
	base, err := expand(p.stages[stage].BaseName, p.args)
	if err != nil {
		return nil, err
	}
	if base == "scratch" || isToolchain(base) {
		return []int{stage}, nil
	}
	from := p.find(base)
	if from < 0 || from >= stage {
		return nil, fmt.Errorf("%s starts from %s: only scratch, golang and earlier stages can be built here", p.stages[stage].OrigCmd, base)
	}
	before, err := p.chain(from)
	return append(before, stage), err
}

// isToolchain tells whether this machine can stand for an image.
func isToolchain(image string) bool { return strings.HasPrefix(image, "golang:") }

// inRoom tells whether a chain begins with an image in which commands can run.
func (p *plan) inRoom(chain []int) (bool, error) {
	base, err := expand(p.stages[chain[0]].BaseName, p.args)
	return isToolchain(base), err
}

// expand replaces the variables of a word.
func expand(word string, args map[string]string) (string, error) {
	env := make([]string, 0, len(args))
	for name, value := range args {
		env = append(env, name+"="+value)
	}
	text, unknown, err := shell.NewLex('\\').ProcessWord(word, shell.EnvsFromSlice(env))
	if err == nil && len(unknown) > 0 {
		err = fmt.Errorf("%q names variables that are not declared: %v", word, unknown)
	}
	return text, err
}
