package imagebuild

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
)

// enter makes the machine's own root an image of Go: what is written goes to memory,
// and is gone with the mount namespace. The overlay's upper directory may not lie
// within its lower one, hence the tmpfs.
const enter = `set -eu
mount -t tmpfs -o mode=755 room "$ROOM"
mkdir "$ROOM/upper" "$ROOM/work" "$ROOM/root"
mount -t overlay -o "lowerdir=/,upperdir=$ROOM/upper,workdir=$ROOM/work" overlay "$ROOM/root"
mount -t proc proc "$ROOM/root/proc"
mount --rbind /dev "$ROOM/root/dev"
`

// export is the file of a stage that ran, on this machine.
func (p *plan) export(ctx context.Context, stage int, file string) (string, error) {
	chain, err := p.chain(stage)
	if err != nil {
		return "", err
	}
	if runs, err := p.inRoom(chain); err != nil {
		return "", err
	} else if !runs {
		return "", fmt.Errorf("COPY from stage %d, in which nothing can run", stage)
	}
	if p.rooms[stage] == "" {
		if err := p.run(ctx, stage, chain); err != nil {
			return "", err
		}
	}
	return filepath.Join(p.rooms[stage], file), nil
}

// run runs a stage and keeps the files that later stages take from it.
func (p *plan) run(ctx context.Context, stage int, chain []int) error {
	room, out := filepath.Join(p.Work, fmt.Sprintf("room%d", stage)), filepath.Join(p.Work, fmt.Sprintf("out%d", stage))
	for _, dir := range []string{room, out} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	script := strings.Builder{}
	script.WriteString(enter)
	for _, cache := range p.caches(ctx) {
		fmt.Fprintf(&script, "mount --bind %[1]s \"$ROOM/root\"%[1]s\n", quote(cache))
	}
	for _, s := range chain {
		if err := p.writeCommands(&script, p.stages[s]); err != nil {
			return err
		}
	}
	for _, file := range p.taken(stage) {
		fmt.Fprintf(&script, "install -D -p \"$ROOM/root\"%s %s\n", quote(file), quote(filepath.Join(out, file)))
	}
	cmd := exec.CommandContext(ctx, "unshare", "--mount", "sh", "-c", script.String())
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), append(p.Env, "ROOM="+room)...)
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("run stage %s: %w\n%s", p.stages[stage].OrigCmd, err, text)
	}
	p.rooms[stage] = out
	return nil
}

// caches are the directories that a room shares with the machine, so that what was
// compiled once is not compiled for each room. A build that names a cache of its own
// starts with an empty one.
func (p *plan) caches(ctx context.Context) []string {
	if slices.ContainsFunc(p.Env, func(v string) bool { return strings.HasPrefix(v, "GOCACHE=") }) {
		return nil
	}
	out, err := exec.CommandContext(ctx, "go", "env", "GOCACHE", "GOMODCACHE").Output()
	if err != nil {
		return nil // slower, and no less right
	}
	return strings.Fields(string(out))
}

// writeCommands writes a stage as commands of the shell.
func (p *plan) writeCommands(script *strings.Builder, s instructions.Stage) error {
	args, dir := map[string]string{}, "/"
	for _, command := range s.Commands {
		switch c := command.(type) {
		case *instructions.ArgCommand:
			if err := p.declare(args, c); err != nil {
				return err
			}
		case *instructions.WorkdirCommand:
			dir = path.Join(dir, c.Path)
			fmt.Fprintf(script, "mkdir -p \"$ROOM/root\"%s\n", quote(dir))
		case *instructions.CopyCommand:
			if c.From != "" {
				return fmt.Errorf("%s: a stage that runs commands may copy from the context only", c)
			}
			to := path.Join(dir, c.DestPath)
			for _, from := range c.SourcePaths {
				source := filepath.Join(p.context(), from)
				if from == "." {
					source += "/."
				}
				fmt.Fprintf(script, "cp -R -p %s \"$ROOM/root\"%s/\n", quote(source), quote(to))
			}
		case *instructions.RunCommand:
			if !c.PrependShell || len(c.CmdLine) != 1 || len(c.Files) > 0 {
				return fmt.Errorf("RUN %v: only a command of the shell can be run here", c.CmdLine)
			}
			fmt.Fprintf(script, "chroot \"$ROOM/root\" env --chdir=%s", quote(dir))
			for name, value := range args {
				fmt.Fprintf(script, " %s", quote(name+"="+value))
			}
			fmt.Fprintf(script, " /bin/sh -c %s\n", quote(c.CmdLine[0]))
		default:
			return fmt.Errorf("%s has %s, which cannot be run here", s.OrigCmd, command.Name())
		}
	}
	return nil
}

// taken is the files that any stage copies from this one.
func (p *plan) taken(stage int) []string {
	var files []string
	for _, s := range p.stages {
		for _, command := range s.Commands {
			if c, ok := command.(*instructions.CopyCommand); ok && c.From != "" && p.find(c.From) == stage {
				files = append(files, c.SourcePaths...)
			}
		}
	}
	return files
}

// quote quotes a word for the shell.
func quote(word string) string { return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'" }
