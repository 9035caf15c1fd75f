package imagebuild

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
)

// copyContext copies what docker build would send: the directory without what its
// .dockerignore names.
func copyContext(from, to string) error {
	ignored, err := readIgnored(filepath.Join(from, ".dockerignore"))
	if err != nil {
		return err
	}
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil || rel == "." {
			return err
		}
		leave, err := ignored.MatchesOrParentMatches(rel)
		if err != nil {
			return fmt.Errorf("match %s with .dockerignore: %w", rel, err)
		}
		switch {
		case leave && d.IsDir() && !ignored.Exclusions():
			return fs.SkipDir
		case leave || d.IsDir():
			return nil
		}
		return copyFile(path, filepath.Join(to, rel))
	})
}

func readIgnored(path string) (*patternmatcher.PatternMatcher, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return patternmatcher.New(nil)
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	patterns, err := ignorefile.ReadAll(f)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return patternmatcher.New(patterns)
}

// copyFile copies a regular file with its mode, and makes its directory.
func copyFile(from, to string) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is no regular file", from)
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, info.Mode().Perm())
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if err = errors.Join(err, out.Close()); err != nil {
		return fmt.Errorf("copy %s: %w", from, err)
	}
	return nil
}
