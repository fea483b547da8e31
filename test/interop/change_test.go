//go:build interop && linux

package interop

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sipward/sipward/demo/capture"
)

// TestChanges is about phones that change a call which stands: hold, another codec, and
// video that goes and comes.
func TestChanges(t *testing.T) {
	t.Parallel()
	shows(t, "hold and resume", "baresip", "linphone")
	shows(t, "changes the codec within a call", "linphone")
	shows(t, "follows a change of the codec within a call", "baresip")
	shows(t, "removes video from a call", "baresip")
	shows(t, "adds video to a call", "baresip", "linphone")
	s := openStreet(t, "")
	seeing := func(user string) phone {
		o := s.at(user)
		o.codecs, o.video = []string{"pcmu", "pcma"}, true
		return o
	}
	s.enterWith("baresip", seeing("alice"))
	s.enterWith("baresip", seeing("bob"))
	s.enterWith("linphone", seeing("amy"))
	s.enterWith("linphone", seeing("ben"))
	talk := func() { t.Helper(); awaitTalk(t, shortTalk, s.north, s.south) }

	// Alice has video from the beginning, without it for a while, and again.
	s.call("alice", "ben")
	first, _ := s.agreed()
	talk()
	s.phones["alice"].tell("video_dir", "inactive")
	talk()
	s.phones["alice"].tell("video_dir", "sendrecv")
	talk()
	same := func(before call) {
		t.Helper()
		if now := s.north.call(); now.SASWords != before.SASWords || now.Protection != "srtp" {
			t.Errorf("after the changes the call is %+v, before them %+v", now, before)
		}
	}
	same(first)
	s.hangUp("alice", "ben")

	// Amy begins without, adds it, and changes to PCMA; then each holds the call.
	s.phones["amy"].tell("dial", s.uri("bob")+" --audio-only")
	s.answers("bob")
	s.phones["amy"].hears(established)
	second, _ := s.agreed()
	talk()
	amy := s.phones["amy"].(*linphone)
	amy.command("camera on")
	talk()
	amy.codec("disable", "PCMU")
	amy.tell("hold", "")
	amy.hears(held)
	amy.tell("resume", "")
	amy.hears(established)
	talk()
	s.phones["bob"].tell("hold", "")
	s.phones["bob"].tell("resume", "")
	talk()
	same(second)
	s.hangUp("amy", "bob")

	_, plain := s.close()
	const pcmu, pcma = 0, 8
	judgeSaid(t, "Ben", plain, s.phones["ben"].media(), saying{"alice", pcmu})
	judgeSaid(t, "Bob", plain, s.phones["bob"].media(), saying{"amy", pcmu}, saying{"amy", pcma})
	judgeSaid(t, "Alice", plain, s.phones["alice"].media(), saying{"ben", pcmu})
	judgeSaid(t, "Amy", plain, s.phones["amy"].media(), saying{"bob", pcmu}, saying{"bob", pcma})
	judgeVideo(t, "Ben", videos(plain, s.phones["ben"]), true, false, true)
	judgeVideo(t, "Bob", videos(plain, s.phones["bob"]), false, true)
}

// video is a time in which a phone is told the same of its m-line of video.
type video struct {
	on      bool
	packets int
}

// videos says when a phone is to have video, by the offers and answers it is sent, and
// how much comes meanwhile. What comes in the first half second behind such a message
// belongs to the time before.
func videos(plain []seen, to softphone) (all []video) {
	var since time.Time
	for _, p := range plain {
		if port := int(p.To.Port()); p.tcp || port != to.signals() && (port < to.media() || port >= to.media()+rtpPorts) {
			continue
		}
		if text := string(p.Payload); isSIP(text) {
			if m := (message{text: text}); m.kind() == "INVITE" || m.kind() == "200 INVITE" {
				on := strings.Contains(text, "\r\nm=video ") && !strings.Contains(text, "\r\nm=video 0 ")
				if len(all) == 0 || all[len(all)-1].on != on {
					all, since = append(all, video{on: on}), p.Time
				}
			}
			continue
		}
		for _, f := range capture.Flows([]capture.Packet{p.Packet}) {
			if len(all) > 0 && f.Packets[0].PayloadType == 96 && p.Time.Sub(since) > 500*time.Millisecond {
				all[len(all)-1].packets++
			}
		}
	}
	return all
}

// judgeVideo wants video to be on and off, and to come where it is on.
func judgeVideo(t *testing.T, where string, all []video, want ...bool) {
	t.Helper()
	t.Logf("%s: %+v", where, all)
	var on []bool
	for _, v := range all {
		on = append(on, v.on)
		if v.on && v.packets < 5 || !v.on && v.packets > 0 {
			t.Errorf("%s: %+v: want packets of video where it is on, and none where it is off", where, all)
		}
	}
	if !slices.Equal(on, want) {
		t.Errorf("%s: video was on %v, want %v", where, on, want)
	}
}
