package main

import (
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
)

func TestPrintVersion(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		info debug.BuildInfo
		want string
	}{
		{debug.BuildInfo{GoVersion: "go1.26"}, "sipward devel\ngo1.26 PLATFORM\n"},
		{debug.BuildInfo{GoVersion: "go1.26", Main: debug.Module{Version: "(devel)"}}, "sipward devel\ngo1.26 PLATFORM\n"},
		{debug.BuildInfo{
			GoVersion: "go1.26",
			Main:      debug.Module{Version: "v1.2.3"},
			Settings:  []debug.BuildSetting{{Key: "vcs.revision", Value: "0123abcd"}, {Key: "vcs.modified", Value: "true"}},
			Deps:      []*debug.Module{{Path: "a.example/b", Version: "v2.0.0"}, {Path: "c.example/d", Version: "v1.0.0", Replace: &debug.Module{Path: "e.example/f", Version: "v3.0.0"}}},
		}, "sipward v1.2.3\nrevision 0123abcd, with changes\ngo1.26 PLATFORM\na.example/b v2.0.0\ne.example/f v3.0.0\n"},
	} {
		var got strings.Builder
		printVersion(&got, &tc.info)
		if want := strings.Replace(tc.want, "PLATFORM", runtime.GOOS+"/"+runtime.GOARCH, 1); got.String() != want {
			t.Errorf("got\n%s\nwant\n%s", got.String(), want)
		}
	}
}
