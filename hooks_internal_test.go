package fulloncache

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"testing"
	"time"
)

// jsonLog is a logger and what it wrote.
func jsonLog(level slog.Level) (*slog.Logger, *bytes.Buffer) {
	var b bytes.Buffer
	return slog.New(slog.NewJSONHandler(&b, &slog.HandlerOptions{Level: level})), &b
}

func record(t *testing.T, b *bytes.Buffer) map[string]any {
	t.Helper()
	var r map[string]any
	if err := json.Unmarshal(b.Bytes(), &r); err != nil {
		t.Fatalf("want one record, got %q: %v", b, err)
	}
	b.Reset()
	return r
}

var somewhere = Market{Exchange: "kraken", Symbol: "BTC/USD"}

func TestObserverCostsNothingWhenNobodyListens(t *testing.T) {
	o := newObserver("tick", Config{
		Logger: slog.New(slog.NewTextHandler(io.Discard, &slog.HandlerOptions{Level: slog.LevelInfo})),
		Hooks:  []Hooks{{Event: func(Event) {}}},
	})
	ctx, failed := context.Background(), errors.New("failed")
	if n := testing.AllocsPerRun(1000, func() {
		call := o.begin(ctx, "tick.get", somewhere)
		call.hit = HitNear
		call.end(ctx, failed)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestObserverDebugRecord(t *testing.T) {
	t.Parallel()
	log, out := jsonLog(slog.LevelDebug)
	o := newObserver("tick", Config{Logger: log})
	ctx := context.Background()

	call := o.begin(ctx, "tick.get", somewhere)
	call.start = call.start.Add(-1500 * time.Millisecond)
	call.hit = HitNear
	call.end(ctx, nil)
	r := record(t, out)
	latency, _ := r["latency_ms"].(float64)
	delete(r, "latency_ms")
	delete(r, "time")
	if latency < 1500 || latency > 60_000 {
		t.Errorf("latency_ms is %v", latency)
	}
	want := map[string]any{
		"level": "DEBUG", "msg": "tick.get", "component": "fullon.cache.tick", "operation": "tick.get",
		"exchange": "kraken", "symbol": "BTC/USD", "cache_hit": true,
	}
	if len(r) != len(want) {
		t.Errorf("record %v", r)
	}
	for k, v := range want {
		if r[k] != v {
			t.Errorf("%s is %v, want %v", k, r[k], v)
		}
	}

	call = o.begin(ctx, "tick.get", somewhere)
	call.hit = HitMiss
	call.end(ctx, errors.New("gone"))
	if r = record(t, out); r["error"] != "gone" || r["cache_hit"] != any(false) {
		t.Errorf("record %v", r)
	}
}

// Hooks are told also where the log is not, and the log is left alone.
func TestObserverHooksWithoutDebug(t *testing.T) {
	t.Parallel()
	log, out := jsonLog(slog.LevelInfo)
	var got []Operation
	o := newObserver("tick", Config{Logger: log, Hooks: []Hooks{{}, {Operation: func(op Operation) { got = append(got, op) }}}})
	failed := errors.New("failed")
	call := o.begin(context.Background(), "tick.any", somewhere)
	call.hit = HitMiss
	call.end(context.Background(), failed)
	if len(got) != 1 || got[0].Name != "tick.any" || got[0].Market != somewhere || got[0].Err != failed || got[0].Hit != HitMiss || got[0].Duration < 0 {
		t.Errorf("operations %+v", got)
	}
	if out.Len() != 0 {
		t.Errorf("logged %s", out)
	}
}

func TestObserverEvents(t *testing.T) {
	t.Parallel()
	log, out := jsonLog(slog.LevelDebug)
	var got []Event
	o := newObserver("connection", Config{Logger: log, Hooks: []Hooks{{}, {Event: func(e Event) { got = append(got, e) }}}})
	cause := errors.New("cut off")
	for kind, level := range map[EventKind]string{
		EventReconnected: "INFO", EventBreakerOpened: "WARN", EventBreakerClosed: "INFO",
		EventNearFlushed: "INFO", EventFeedDisconnected: "WARN", EventFeedConnected: "INFO",
	} {
		var err error
		if level == "WARN" {
			err = cause
		}
		before := time.Now()
		o.event(kind, "node:6379", err)
		e := got[len(got)-1]
		if e.Kind != kind || e.Subject != "node:6379" || e.Err != err || e.Time.Before(before) || time.Since(e.Time) > time.Minute {
			t.Errorf("event %+v", e)
		}
		r := record(t, out)
		if r["level"] != level || r["msg"] != kind.String() || r["subject"] != "node:6379" || r["component"] != "fullon.cache.connection" {
			t.Errorf("%s: record %v", kind, r)
		}
		if text, ok := r["error"]; ok != (err != nil) || ok && text != "cut off" {
			t.Errorf("%s: error %v in the record", kind, text)
		}
	}
	if len(got) != 6 {
		t.Errorf("%d events", len(got))
	}
}
