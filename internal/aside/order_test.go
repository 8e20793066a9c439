package aside_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fullon/fulloncache/internal/aside"
	"github.com/fullon/fulloncache/internal/kv"
	"github.com/fullon/fulloncache/internal/testenv"
)

// versions is a database of things that have versions, whose reads and writes
// take a random time on both sides of the moment they happen.
type versions struct {
	longest time.Duration
	rows    []version
}

// version is one thing. Every seventh version of it is that it does not exist.
type version struct {
	key       string
	committed atomic.Int64
	acked     atomic.Int64 // the newest whose writer has been told
}

// pass lets a random time pass.
func (d *versions) pass(ctx context.Context) {
	select {
	case <-time.After(rand.N(d.longest)):
	case <-ctx.Done():
	}
}

func (d *versions) write(ctx context.Context, v *version) int64 {
	d.pass(ctx)
	n := v.committed.Add(1)
	d.pass(ctx)
	return n
}

func (d *versions) load(v *version) aside.Load {
	return func(ctx context.Context) (map[string]string, bool, error) {
		d.pass(ctx)
		n := v.committed.Load()
		d.pass(ctx)
		if rand.N(20) == 0 {
			return nil, false, errDown
		}
		return things{"version": strconv.FormatInt(n, 10)}, n%7 != 0, nil
	}
}

// ack notes that a version's writer has been told.
func (v *version) ack(n int64) {
	for {
		old := v.acked.Load()
		if old >= n || v.acked.CompareAndSwap(old, n) {
			return
		}
	}
}

// check compares what a reader was told with what it may be told: a version that
// is not older than one that was acknowledged before it asked.
func (v *version) check(t testing.TB, e aside.Entry[things], least int64, what string) {
	t.Helper()
	most := v.committed.Load()
	if e.Absent {
		for n := least; n <= most; n++ {
			if n%7 == 0 {
				return
			}
		}
		t.Errorf("%s: absent, want a version of %d to %d (loaded %s)", what, least, most, e.Loaded)
		return
	}
	n, err := strconv.ParseInt(e.Value["version"], 10, 64)
	if err != nil || n < least || n > most {
		t.Errorf("%s: version %d (%v), want one of %d to %d (loaded %s)", what, n, err, least, most, e.Loaded)
	}
}

// Readers and writers of several processes do what they do at random. Nobody who
// asks after a write has ended is told of what was before it; and when all is
// quiet, the cache says what the database says.
func TestNoReaderGoesBack(t *testing.T) {
	modes(t, func(t *testing.T, m *mode) {
		ctx := testenv.Context(t)
		lasts := 2 * time.Second
		if testenv.Soak() {
			lasts = time.Minute
		}
		db := &versions{longest: 3 * time.Millisecond, rows: make([]version, 3)}
		for i := range db.rows {
			db.rows[i].key = m.key(strconv.Itoa(i))
			db.rows[i].committed.Store(1)
		}
		var processes []*process
		for range 3 {
			processes = append(processes, m.process(t, short(40*time.Millisecond)))
		}
		var (
			wg    sync.WaitGroup
			end   = time.Now().Add(lasts)
			reads atomic.Int64
			hits  atomic.Int64
		)
		for i := range 12 {
			p := processes[i%3]
			wg.Go(func() {
				for time.Now().Before(end) && !t.Failed() {
					v := &db.rows[rand.N(len(db.rows))]
					least := v.acked.Load()
					// What the server told this process before has arrived then.
					m.settle(t, p, v.key)
					var (
						e    aside.Entry[things]
						err  error
						what string
					)
					switch rand.N(10) {
					case 0:
						what = "refresh"
						e, err = p.Refresh(ctx, v.key, db.load(v))
					case 1:
						what = "within"
						e, err = p.GetWithin(ctx, v.key, rand.N(20*time.Millisecond)+1, db.load(v))
					case 2:
						what = "hurried"
						hurried, cancel := context.WithTimeout(ctx, rand.N(5*time.Millisecond))
						e, err = p.Get(hurried, v.key, db.load(v))
						cancel()
						if errors.Is(err, context.DeadlineExceeded) {
							continue
						}
					default:
						what = "get"
						e, err = p.Get(ctx, v.key, db.load(v))
					}
					reads.Add(1)
					switch {
					case err == nil:
						if e.Hit {
							hits.Add(1)
						}
						v.check(t, e, least, what)
					// What another process's loader said arrives as text.
					case !errors.Is(err, errDown) && !isLoadError(err):
						t.Errorf("%s: %v", what, err)
					}
				}
			})
		}
		for i := range 3 {
			p := processes[i]
			wg.Go(func() {
				for time.Now().Before(end) && !t.Failed() {
					db.change(ctx, t, m, p)
					// Now and then nothing changes for so long that values are kept.
					select {
					case <-time.After(rand.N(40 * time.Millisecond)):
					case <-ctx.Done():
					}
				}
			})
		}
		wg.Wait()
		t.Logf("%d reads, %d hits, versions %d, %d, %d", reads.Load(), hits.Load(),
			db.rows[0].committed.Load(), db.rows[1].committed.Load(), db.rows[2].committed.Load())
		for i := range db.rows {
			v := &db.rows[i]
			for _, p := range processes {
				testenv.Eventually(t, "an answer", func() (bool, string) {
					m.settle(t, p, v.key)
					e, err := p.Get(ctx, v.key, db.load(v))
					if err == nil {
						v.check(t, e, v.committed.Load(), "in the end")
					}
					return err == nil, fmt.Sprint(err)
				})
			}
		}
		for _, p := range processes {
			for _, kind := range []string{"corrupt", "not"} {
				if got := p.of(kind); len(got) > 0 {
					t.Errorf("events: %v", got)
				}
			}
		}
	})
}

func isLoadError(err error) bool {
	var failed *aside.LoadError
	return errors.As(err, &failed)
}

// change writes in one of the ways there are.
func (d *versions) change(ctx context.Context, t *testing.T, m *mode, p *process) {
	first := rand.N(len(d.rows))
	rows := []*version{&d.rows[first]}
	if rand.N(3) == 0 {
		rows = append(rows, &d.rows[(first+1)%len(d.rows)])
	}
	keys := make([]string, len(rows))
	for i, v := range rows {
		keys[i] = v.key
	}
	written := make([]int64, len(rows))
	commit := func(ctx context.Context) error {
		for i, v := range rows {
			written[i] = d.write(ctx, v)
		}
		return nil
	}
	var err error
	switch rand.N(6) {
	case 0: // somebody else's change, of which the caches are told later
		must(t, commit(ctx))
		err = p.Invalidate(ctx, keys...)
	case 1:
		must(t, commit(ctx))
		err = p.InvalidateAll(ctx)
	case 2: // the outcome is unknown to the writer, but it is done
		if err = p.Write(ctx, keys, func(ctx context.Context) error {
			must(t, commit(ctx))
			return errDown
		}); errors.Is(err, errDown) {
			err = nil
		}
	case 3: // a writer that dies before it tells the end
		for _, key := range keys {
			_, err := m.admin.Run(ctx, kv.AsideWrite, []string{key, key + ":fill"}, []string{"dead", "500"})
			must(t, err)
		}
		must(t, commit(ctx))
	default:
		err = p.Write(ctx, keys, commit)
	}
	if err != nil {
		t.Errorf("write: %v", err)
	}
	for i, v := range rows {
		v.ack(written[i])
	}
}
