package firsttime

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// Build clones the repository of this package and builds sipward from the clone,
// both in dir. Where there is no repository to clone, or the working tree differs
// from it, it builds the tree. how says which.
func Build(ctx context.Context, dir string) (bin, how string, err error) {
	root, err := output(ctx, ".", "go", "list", "-m", "-f", "{{.Dir}}")
	if err != nil {
		return "", "", err
	}
	source := filepath.Join(dir, "sipward")
	switch changes, err := output(ctx, root, "git", "status", "--porcelain"); {
	case err != nil:
		source, how = root, "the tree, for it cannot be cloned ("+err.Error()+")"
	case changes != "":
		source, how = root, "the tree, which differs from what a clone would be"
	default:
		if _, err := output(ctx, dir, "git", "clone", "--quiet", root, source); err != nil {
			return "", "", err
		}
		how = "a fresh clone"
	}
	bin = filepath.Join(dir, "bin", "sipward")
	if runtime.GOOS == "windows" {
		bin += ".exe"
	}
	// As make build does.
	_, err = output(ctx, source, "go", "build", "-trimpath", "-o", bin, "./cmd/sipward")
	return bin, how, err
}

// output is what a program prints, without the spaces around it.
func output(ctx context.Context, dir, program string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "CGO_ENABLED=0")
	b, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = fmt.Errorf("%s %s: %w: %s", program, args[0], err, strings.TrimSpace(string(exit.Stderr)))
	}
	return strings.TrimSpace(string(b)), err
}
