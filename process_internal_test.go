package fulloncache

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/fullon/fulloncache/internal/feed"
	"github.com/fullon/fulloncache/internal/keys"
)

var anyProcess = rapid.Custom(func(t *rapid.T) storedProcess {
	s := storedProcess{instance: anyText(1).Draw(t, "instance"), rev: rapid.Int64().Draw(t, "rev")}
	s.Type = rapid.SampledFrom(processTypes[:]).Draw(t, "type")
	s.Component, s.ID = anyText(1).Draw(t, "component"), anyText(1).Draw(t, "id")
	s.Status = rapid.SampledFrom(processStatuses[:]).Draw(t, "status")
	s.Message, s.Host, s.PID = anyText(0).Draw(t, "message"), anyText(0).Draw(t, "host"), rapid.IntRange(0, 1<<22).Draw(t, "pid")
	s.Params = rapid.MapOfN(anyText(1), anyText(0), 0, 5).Draw(t, "params")
	s.Interval = time.Duration(rapid.Int64Range(minHeartbeat.Microseconds(), maxHeartbeat.Microseconds()).Draw(t, "interval")) * time.Microsecond
	s.Started, s.Updated, s.Heartbeat = anyTime.Draw(t, "started"), anyTime.Draw(t, "updated"), anyTime.Draw(t, "heartbeat")
	if rapid.Bool().Draw(t, "dead") {
		s.Died = anyTime.Draw(t, "died")
	}
	return s
})

// processFields is how the scripts store a process.
func processFields(s storedProcess) map[string]string {
	fields := map[string]string{
		"process_type": string(s.Type), "process_id": s.ID, "component": s.Component, "host": s.Host, "pid": strconv.Itoa(s.PID),
		"interval": microseconds(s.Interval), "instance": s.instance, "rev": strconv.FormatInt(s.rev, 10),
		"started": formatTime(s.Started), "updated": formatTime(s.Updated), "heartbeat": formatTime(s.Heartbeat),
	}
	if !s.Died.IsZero() {
		fields["died"] = formatTime(s.Died)
	}
	for pair := range slices.Chunk(s.told(), 2) {
		fields[pair[0]] = pair[1]
	}
	return fields
}

// processText is how the scripts publish a process.
func processText(s storedProcess) string {
	var b strings.Builder
	fmt.Fprintf(&b, "P %d ", s.rev)
	for name, value := range processFields(s) {
		fmt.Fprintf(&b, "%d:%s%d:%s", len(name), name, len(value), value)
	}
	return b.String()
}

// sameProcess compares what is stored.
func sameProcess(a, b storedProcess) bool {
	for _, p := range []*storedProcess{&a, &b} {
		if len(p.Params) == 0 {
			p.Params = nil
		}
		p.Age, p.Alive = 0, false
	}
	same := maps.Equal(a.Params, b.Params)
	a.Params, b.Params = nil, nil
	return same && fmt.Sprintf("%+v", a) == fmt.Sprintf("%+v", b)
}

func TestProcessCodecRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		in := anyProcess.Draw(t, "process")
		fields := processFields(in)
		fields["of a later version"] = "x"
		out, err := parseProcess("k", fields)
		if err != nil || !sameProcess(in, out) || out.Started.Location() != time.UTC {
			t.Fatalf("fields: %+v became %+v, %v", in, out, err)
		}
		m, err := readProcessMessage("c", processText(in))
		if err != nil || m.kind != messageProcess || !sameProcess(in, m.process) {
			t.Fatalf("message %q: %+v became %+v, %v", processText(in), in, m, err)
		}
		m, err = readProcessMessage("c", fmt.Sprintf("D %d %s", in.rev, in.ID))
		if err != nil || m.kind != messageDeleted || m.process.ID != in.ID || m.process.rev != in.rev {
			t.Fatalf("a deletion of %q became %+v, %v", in.ID, m, err)
		}
		// Whatever it last said, a process that stopped, died or was silent for too long
		// is not alive.
		now := in.Heartbeat.Add(time.Duration(rapid.Int64Range(0, 4*int64(maxHeartbeat)).Draw(t, "age")))
		out.seen(now)
		if want := out.Status != ProcessStopped && out.Died.IsZero() && now.Sub(in.Heartbeat) <= in.Interval*7/4; out.Alive != want || out.Stale() == (want || out.Status == ProcessStopped) {
			t.Fatalf("alive %t, stale %t: %+v", out.Alive, out.Stale(), out)
		}
	})
}

func goodProcess() storedProcess {
	at := time.Date(2024, 2, 29, 23, 59, 59, 1, time.UTC)
	return storedProcess{
		Process: Process{
			Type: ProcessBot, Component: "bot_1", ID: "1", Status: ProcessRunning, Message: "m", Params: map[string]string{"a": "b"},
			Host: "h", PID: 7, Interval: time.Second, Started: at, Updated: at, Heartbeat: at,
		},
		instance: "i", rev: 7,
	}
}

func TestReadProcessMessageRefuses(t *testing.T) {
	t.Parallel()
	good := processText(goodProcess())
	for message, mention := range map[string]string{
		"": "no revision", "P": "no revision", "P x": "no revision", "X 1 ": "unknown kind",
		good[:len(good)-1]: "lengths", strings.Replace(good, "P 7", "P 8", 1): "two revisions", "D 1.5 x": "no revision",
	} {
		_, err := readProcessMessage("c", message)
		var ce *CorruptError
		if !errors.As(err, &ce) || ce.Key != "c" || !strings.Contains(err.Error(), mention) {
			t.Errorf("%q: %v, want %q", message, err, mention)
		}
	}
	if m, err := readProcessMessage("c", "R 12"); err != nil || m.kind != messageReset {
		t.Errorf("%+v, %v", m, err)
	}
}

func FuzzProcessMessage(f *testing.F) {
	f.Add(processText(goodProcess()))
	f.Add("D 7 1")
	f.Add("R 7")
	f.Fuzz(func(t *testing.T, message string) {
		m, err := readProcessMessage("c", message)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatalf("%q: %v", message, err)
			}
			return
		}
		if m.kind != messageProcess {
			return
		}
		again, err := readProcessMessage("c", processText(m.process))
		if err != nil || !sameProcess(m.process, again.process) {
			t.Fatalf("%q: %+v became %+v, %v", message, m, again, err)
		}
	})
}

func FuzzProcessRecord(f *testing.F) {
	f.Add(`{"change":"died","time":"2026-01-02T03:04:05.000000000Z","process_id":"1","pid":7}`)
	f.Add(`{}`)
	f.Add(`[]`)
	f.Fuzz(func(t *testing.T, text string) {
		r, err := readProcessRecord("k", text)
		var ce *CorruptError
		if err != nil && (!errors.As(err, &ce) || ce.Key != "k" || r != (ProcessRecord{})) {
			t.Fatalf("%q: %+v, %v", text, r, err)
		}
		if err == nil && (r.ID == "" || r.Time.IsZero() || r.Change == "") {
			t.Fatalf("%q: %+v", text, r)
		}
	})
}

// The watcher tells what is news, whatever the feed tells again, and each once.
func TestProcessWatcher(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	w := newProcessWatcher()
	w.since = map[ProcessType]int64{ProcessBot: 100}
	entry := func(id, instance string, rev int64, change func(p *storedProcess)) feed.Update[processKey, storedProcess] {
		p := goodProcess()
		p.ID, p.instance, p.rev, p.Heartbeat = id, instance, rev, now
		if change != nil {
			change(&p)
		}
		p.seen(now)
		return feed.Update[processKey, storedProcess]{Event: processEvent(p, false)}
	}
	dead := func(p *storedProcess) { p.Died = now }
	stopped := func(p *storedProcess) { p.Status = ProcessStopped }
	silent := func(p *storedProcess) { p.Heartbeat = now.Add(-time.Minute) }
	gone := func(id string) feed.Update[processKey, storedProcess] {
		return feed.Update[processKey, storedProcess]{Event: feed.Event[processKey, storedProcess]{Key: processKey{ProcessBot, id}, Deleted: true}}
	}
	conflated := entry("1", "a", 130, nil)
	conflated.Conflated = 2
	for i, step := range []struct {
		u    feed.Update[processKey, storedProcess]
		want ProcessChange
	}{
		{entry("1", "a", 90, nil), ChangeStarted},
		{entry("1", "a", 90, nil), ""}, // told anew
		{entry("old", "a", 95, dead), ""},
		{entry("old", "a", 96, stopped), ""},
		{entry("2", "a", 97, silent), ""}, // not yet declared
		{entry("2", "a", 110, dead), ChangeDied},
		{entry("2", "a", 110, dead), ""},
		{entry("2", "a", 111, stopped), ChangeStopped},
		{entry("2", "a", 112, stopped), ""},
		{entry("2", "b", 113, stopped), ChangeStopped}, // another instance came and went
		{entry("2", "b", 114, nil), ChangeStarted},
		{entry("2", "c", 115, nil), ChangeStarted},
		{conflated, ChangeStarted},
		{gone("1"), ""},
		{gone("1"), ""},
		{entry("1", "a", 131, nil), ""}, // it came back
		{entry("1", "a", 132, dead), ChangeDied},
		{gone("1"), ""}, // cleaned up
		{gone("2"), ""},
	} {
		events := w.update(step.u, now)
		if (len(events) == 1) != (step.want != "") || len(events) == 1 && events[0].Change != step.want {
			t.Errorf("step %d: %+v, want %q", i, events, step.want)
		}
	}
	// 2 has not come back.
	if events := w.overdue(now.Add(time.Second)); len(events) != 0 {
		t.Errorf("too early: %+v", events)
	}
	if events := w.overdue(now.Add(2 * time.Second)); len(events) != 1 || events[0].Change != ChangeDied || events[0].Process.ID != "2" || events[0].Process.Alive {
		t.Errorf("got %+v", events)
	}
	if len(w.alive)+len(w.gone) != 0 {
		t.Errorf("left: %+v", w)
	}
}

// A message that is of another channel is corrupt, wherever it comes from.
func TestProcessMessageOfAnotherChannel(t *testing.T) {
	t.Parallel()
	space := keys.New("p", 0, false)
	c := &ProcessCache{types: map[string]ProcessType{space.ProcessesChannel("tick"): ProcessTick}}
	for _, message := range []string{processText(goodProcess()), "D 1 x"} {
		for _, channel := range []string{space.ProcessesChannel("tick"), space.ProcessRevChannel("tick")} {
			_, err := processSource{c: c}.Decode(channel, message)
			if message[0] == 'D' && channel == space.ProcessesChannel("tick") {
				if err != nil {
					t.Error(err)
				}
				continue
			}
			var ce *CorruptError
			if !errors.As(err, &ce) || ce.Key != channel {
				t.Errorf("%s on %s: %v", message, channel, err)
			}
		}
	}
}

// For how long the server has answered is counted anew after each time that it did
// not.
func TestProcessInTouch(t *testing.T) {
	t.Parallel()
	c := &ProcessCache{touch: make(map[ProcessType]time.Time), interval: time.Hour}
	if c.inTouch(ProcessBot) != 0 {
		t.Error("in touch before anything was asked")
	}
	c.touched(ProcessBot, nil)
	c.touched(ProcessBot, ErrCorrupt)
	first := c.inTouch(ProcessBot)
	if first <= 0 || c.inTouch(ProcessTick) != 0 {
		t.Errorf("in touch for %s", first)
	}
	c.touched(ProcessBot, nil)
	if c.inTouch(ProcessBot) <= first {
		t.Error("counted anew")
	}
	c.touched(ProcessBot, &UnavailableError{Err: errors.New("cut off")})
	if c.inTouch(ProcessBot) != 0 {
		t.Error("in touch with a server that does not answer")
	}
	c.sweepLater(ProcessBot) // who is not in touch looks after nobody
	if len(c.sweeping.busy) != 0 {
		t.Error("it swept")
	}
}

// What the tests outside of the package may do to a handle.

// HoldTurn keeps a process from writing until the function it returns is called.
func HoldTurn(h *ProcessHandle) (release func()) {
	h.turn <- struct{}{}
	return func() { <-h.turn }
}

// WriteProcess writes as a beat does.
func WriteProcess(ctx context.Context, h *ProcessHandle) error { return h.write(ctx) }

// EndProcess ends the beating without a stop.
func EndProcess(h *ProcessHandle) { h.end(nil) }

// BeginProcess begins to beat for a process that is not registered.
func BeginProcess(c *Client, p Process) (*ProcessHandle, error) {
	h := newProcessHandle(c.Processes, p)
	return h, h.begin()
}
