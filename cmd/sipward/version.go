package main

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Say what this program was built from",
		Long:    "Prints the version, the revision of the source where the build knew it, Go's\nversion and the libraries within.",
		Example: "  sipward version",
		Args:    noArgs(""),
		RunE: verb(func(cmd *cobra.Command) error {
			info, ok := debug.ReadBuildInfo()
			if !ok {
				info = &debug.BuildInfo{GoVersion: runtime.Version()}
			}
			printVersion(cmd.OutOrStdout(), info)
			return nil
		}),
	}
}

// version is the module's version, or "devel" for a build without one.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return versionOf("")
	}
	return versionOf(info.Main.Version)
}

func versionOf(v string) string {
	if v == "" || v == "(devel)" {
		return "devel"
	}
	return v
}

func printVersion(w io.Writer, info *debug.BuildInfo) {
	fmt.Fprintln(w, "sipward", versionOf(info.Main.Version))
	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	if rev := settings["vcs.revision"]; rev != "" {
		if settings["vcs.modified"] == "true" {
			rev += ", with changes"
		}
		fmt.Fprintln(w, "revision", rev)
	}
	fmt.Fprintf(w, "%s %s/%s\n", info.GoVersion, runtime.GOOS, runtime.GOARCH)
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		fmt.Fprintln(w, m.Path, m.Version)
	}
}
