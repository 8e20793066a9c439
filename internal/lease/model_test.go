package lease_test

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/fullon/fulloncache/internal/keys"
	"github.com/fullon/fulloncache/internal/lease"
	"github.com/fullon/fulloncache/internal/testenv"
)

// model is what a lease is, in a few lines: who has it, for which requests, under
// which token, and who stands in line.
type model struct {
	holder string
	token  int64
	holds  map[string]bool
	line   []waiter
	last   int64 // token
	fence  int64 // what the server remembers of it
}

type waiter struct {
	request, holder string
	dead            bool
}

func (m *model) free() { m.holder, m.holds = "", map[string]bool{} }

// first drops the dead at the head of the line.
func (m *model) first() *waiter {
	for len(m.line) > 0 && m.line[0].dead {
		m.line = m.line[1:]
	}
	if len(m.line) == 0 {
		return nil
	}
	return &m.line[0]
}

func (m *model) leave(request string) {
	m.line = slices.DeleteFunc(m.line, func(w waiter) bool { return w.request == request })
}

// take returns whether it is given, else who is in the way, whether as the next,
// and the place in line.
func (m *model) take(holder, request string, share, inLine bool) (given bool, by string, next bool, place int) {
	first := m.first()
	shares := m.holder == holder && (share || m.holds[request])
	if shares || m.holder == "" && (first == nil || first.request == request) {
		m.holder, m.holds[request] = holder, true
		m.leave(request)
		return true, "", false, 0
	}
	place = -1
	if inLine {
		place = slices.IndexFunc(m.line, func(w waiter) bool { return w.request == request })
		if place < 0 {
			place = len(m.line)
			m.line = append(m.line, waiter{})
		}
		m.line[place] = waiter{request: request, holder: holder}
	}
	if m.holder != "" {
		return false, m.holder, false, place
	}
	return false, first.holder, true, place
}

// The scripts do what the model says, whatever happens in whatever order.
func TestLeaseFollowsTheModel(t *testing.T) {
	conformance(t, func(s *suite) {
		leases := s.leases()
		n := 0
		rapid.Check(s.T, func(t *rapid.T) {
			n++
			r := resource(s.space, "kraken", fmt.Sprintf("S%d/USD", n))
			line, waiting := keys.LeaseLine(r.Key), keys.LeaseWaiting(r.Key)
			m := &model{}
			m.free()
			holders := rapid.SampledFrom([]string{"a", "b:{c} 1", "é"})
			requests := rapid.SampledFrom([]string{"r1", "r2", "r3", "r4"})
			fail := func(what string, got, want any) { t.Fatalf("%s: got %v, want %v; model %+v", what, got, want, m) }
			t.Repeat(map[string]func(*rapid.T){
				"take": func(t *rapid.T) {
					holder, request := holders.Draw(t, "holder"), requests.Draw(t, "request")
					share, inLine := rapid.Bool().Draw(t, "share"), rapid.Bool().Draw(t, "in line")
					had := m.holder
					h, refused, err := leases.Take(s.ctx, r, holder, lease.Request{TTL: time.Hour, Share: share, ID: request}, inLine)
					given, by, next, place := m.take(holder, request, share, inLine)
					switch {
					case err != nil:
						t.Fatal(err)
					case given != (refused == nil):
						fail("given", refused, given)
					case given && had == "" && h.Token <= m.last:
						fail("token", h.Token, m.last)
					case given && had != "" && h.Token != m.token:
						fail("token", h.Token, m.token)
					case given:
						if m.token, m.last = h.Token, max(m.last, h.Token); had == "" {
							m.fence = h.Token
						}
					default:
						var blocked *blockedError
						if !errors.As(refused.Err, &blocked) || blocked.Holder != by || blocked.next != next || refused.Place != place {
							fail("refused", fmt.Sprint(refused.Err, " at ", refused.Place), fmt.Sprint(by, " ", next, " at ", place))
						}
					}
				},
				"release": func(t *rapid.T) {
					request := requests.Draw(t, "request")
					token := rapid.SampledFrom([]int64{0, m.token, m.last, m.token - 1}).Draw(t, "token")
					text, want := strconv.FormatInt(token, 10), int64(1)
					if token <= 0 {
						text = ""
						m.leave(request)
					}
					mine := m.holds[request] && (text == "" || token == m.token)
					switch {
					case m.holder == "" && text != "" && token != m.fence:
						want = 2
					case m.holder != "" && !mine:
						want = 0
					case mine:
						if delete(m.holds, request); len(m.holds) == 0 {
							m.free()
						}
					}
					if got, err := leases.GiveBack(s.ctx, r, text, request); err != nil || got != want {
						fail("release", fmt.Sprint(got, err), want)
					}
				},
				"drop": func(t *rapid.T) {
					holder, force := holders.Draw(t, "holder"), rapid.Bool().Draw(t, "force")
					ended, err := leases.Drop(s.ctx, r, holder, force)
					switch {
					case m.holder == "" && (ended || err != nil):
						fail("drop", fmt.Sprint(ended, err), false)
					case m.holder == "":
					case force || m.holder == holder:
						if m.free(); !ended || err != nil {
							fail("drop", fmt.Sprint(ended, err), true)
						}
					default:
						var blocked *blockedError
						if !errors.As(err, &blocked) || blocked.Holder != m.holder {
							fail("drop", err, m.holder)
						}
					}
				},
				"its time is over": func(*rapid.T) {
					if m.holder == "" {
						return
					}
					m.free()
					s.do("HSET", r.Key, "until", "2020-01-01T00:00:00.000000000Z")
				},
				"a waiter dies": func(t *rapid.T) {
					if len(m.line) == 0 {
						return
					}
					w := &m.line[rapid.IntRange(0, len(m.line)-1).Draw(t, "which")]
					w.dead = true
					text := s.do("HGET", waiting, w.request)
					_, rest, _ := strings.Cut(text, " ")
					s.do("HSET", waiting, w.request, "1 "+rest)
				},
				"everybody forgets": func(t *rapid.T) {
					if rapid.IntRange(0, 9).Draw(t, "chance") > 0 {
						return
					}
					for _, key := range []string{r.Key, r.Fence, r.Index, line, waiting} {
						s.do("DEL", key)
					}
					m.free()
					m.line, m.fence = nil, 0
				},
				"": func(*rapid.T) {
					h, held, err := leases.Get(s.ctx, r)
					if err != nil || held != (m.holder != "") || h.Holder != m.holder || held && h.Token != m.token {
						fail("get", fmt.Sprint(h, held, err), m.holder)
					}
					for _, token := range []int64{m.token, m.last, m.last + 1} {
						err := leases.Validate(s.ctx, r, token)
						if valid := held && token == m.token; valid != (err == nil) || !valid && !errors.Is(err, errLost) {
							fail(fmt.Sprint("validate ", token), err, valid)
						}
					}
				},
			})
			for _, key := range []string{r.Key, line, waiting} {
				s.do("DEL", key)
			}
		})
	})
}

// What nobody renews or ends leaves nothing behind.
func TestLeaseLeavesNothing(t *testing.T) {
	conformance(t, func(s *suite) {
		leases := s.leases(func(o *lease.Options) { o.WaiterTTL = 200 * time.Millisecond })
		_, refused, err := leases.Take(s.ctx, s.btc, "a", lease.Request{TTL: 300 * time.Millisecond, ID: "1"}, false)
		if must(s, err); refused != nil {
			s.Fatal(refused.Err)
		}
		_, refused, err = leases.Take(s.ctx, s.btc, "b", lease.Request{TTL: time.Second, ID: "2"}, true)
		if must(s, err); refused == nil || refused.Place != 0 {
			s.Fatalf("got %+v", refused)
		}
		for _, key := range []string{s.btc.Key, keys.LeaseLine(s.btc.Key), keys.LeaseWaiting(s.btc.Key)} {
			testenv.Eventually(s, "the end of "+key, func() (bool, string) { return s.do("EXISTS", key) == "0", "there" })
		}
		// The next one cleans the index. In process, keys go before the time of the
		// lease is over.
		eth := resource(s.space, "kraken", "ETH/USD")
		testenv.Eventually(s, "a clean index", func() (bool, string) {
			_, err = leases.Hold(s.ctx, eth, "a", time.Minute)
			must(s, err)
			n := s.do("ZCARD", s.btc.Index)
			return n == "1", n + " in the index"
		})
	})
}
