package kv

import (
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"pgregory.net/rapid"

	"github.com/fullon/fulloncache/internal/testenv"
)

// luaOf runs a body, with what it includes, on a real server: its Lua is what counts,
// not what another makes of it.
func luaOf(t *testing.T) func(t rapid.TB, body string, keys []string, args ...string) string {
	t.Helper()
	redis, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{testenv.Redis(t).Addr()}, DisableCache: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(redis.Close)
	ctx := testenv.Context(t)
	return func(t rapid.TB, body string, keys []string, args ...string) string {
		t.Helper()
		cmd := redis.B().Eval().Script(included(body)).Numkeys(int64(len(keys))).Key(keys...).Arg(args...).Build()
		text, err := redis.Do(ctx, cmd).ToString()
		if err != nil {
			t.Fatalf("%q %q: %v", keys, args, err)
		}
		return text
	}
}

// The times that scripts write are those that Go reads, of every day until 2255.
func TestIncludeStamp(t *testing.T) {
	t.Parallel()
	run := luaOf(t)
	check := func(t rapid.TB, times ...time.Time) {
		t.Helper()
		var args, want []string
		for _, at := range times {
			args = append(args, strconv.FormatInt(at.UnixMicro(), 10))
			want = append(want, at.Format("2006-01-02T15:04:05.000000000Z"))
		}
		got := run(t, "-- @include stamp\nlocal r = {} for i, us in ipairs(ARGV) do r[i] = stamp(tonumber(us)) end return table.concat(r, ' ')", nil, args...)
		if got != strings.Join(want, " ") {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	for _, day := range []string{"1970-01-01", "1999-12-31", "2000-02-29", "2000-03-01", "2026-01-01", "2026-02-28", "2100-02-28", "2100-03-01", "2254-12-31"} {
		at, err := time.Parse(time.DateOnly, day)
		if err != nil {
			t.Fatal(err)
		}
		check(t, at, at.Add(24*time.Hour-time.Microsecond), at, at.Add(time.Hour))
	}
	rapid.Check(t, func(t *rapid.T) {
		us := rapid.Int64Range(0, 1<<53-1) // Lua's numbers are exact
		check(t, time.UnixMicro(us.Draw(t, "a")).UTC(), time.UnixMicro(us.Draw(t, "b")).UTC())
	})
}

// Numbers are compared exactly, however long they are.
func TestIncludeDecimals(t *testing.T) {
	t.Parallel()
	run := luaOf(t)
	plain := rapid.StringMatching(`0{0,2}[0-9]{1,20}(\.[0-9]{0,10}0{0,2})?`)
	check := func(t rapid.TB, a, b string) {
		t.Helper()
		x, _ := new(big.Rat).SetString(a)
		y, _ := new(big.Rat).SetString(b)
		want := fmt.Sprint(x.Cmp(y) < 0)
		if got := run(t, "-- @include decimals\nreturn tostring(less(ARGV[1], ARGV[2]))", nil, a, b); got != want {
			t.Errorf("%s < %s: got %s", a, b, got)
		}
	}
	for _, pair := range [][2]string{{"5", "7"}, {"7", "5"}, {"9", "10"}, {"1.10", "1.1"}, {"1.09", "1.1"}, {"0", "0.0"}, {"007", "7.5"}, {"12345678901234567890", "12345678901234567891"}} {
		check(t, pair[0], pair[1])
		check(t, pair[1], pair[0])
	}
	rapid.Check(t, func(t *rapid.T) { check(t, plain.Draw(t, "a"), plain.Draw(t, "b")) })
	for text, want := range map[string]bool{"1": true, "1.": true, "01.50": true, "": false, ".5": false, "-1": false, "1e5": false, "1.2.3": false, "1 ": false} {
		if got := run(t, "-- @include decimals\nreturn tostring(is_plain(ARGV[1]))", nil, text); got != fmt.Sprint(want) {
			t.Errorf("%q is plain: %s", text, got)
		}
	}
}

// What has the form of a time is told from what has not.
func TestIncludeTimes(t *testing.T) {
	t.Parallel()
	run := luaOf(t)
	const good = "2026-01-02T03:04:05.000000006Z"
	for text, want := range map[string]bool{
		good: true, "": false, good[:29]: false, good + "Z": false, " " + good[1:]: false, "2026-01-02T03:04:05Z": false, strings.ToLower(good): false,
	} {
		if got := run(t, "-- @include times\nreturn tostring(is_time(ARGV[1]))", nil, text); got != fmt.Sprint(want) {
			t.Errorf("%q is a time: %s", text, got)
		}
	}
	for object, want := range map[string]string{
		`{"time":"` + good + `"}`: good, `{"a":1,"time" : "` + good + `","b":2}`: good, `{"time":"now"}`: "", `{"time":7}`: "", `{}`: "", "": "",
	} {
		if got := run(t, "-- @include times\nreturn time_of(ARGV[1])", nil, object); got != want {
			t.Errorf("%s: got %q, want %q", object, got, want)
		}
	}
}

// Revisions are the server's time, unless that went back, and never fewer than asked
// for.
func TestIncludeRevision(t *testing.T) {
	t.Parallel()
	run := luaOf(t)
	key := testenv.Prefix(t) + ":rev"
	next := func(many int) (first, last, now int64) {
		t.Helper()
		const body = `-- @include clock
-- @include revision
local first = next_revision(KEYS[1], tonumber(ARGV[1]), 'PUBLISH', KEYS[1])
return string.format('%.0f %s %.0f', first, redis.call('GET', KEYS[1]), now)`
		if _, err := fmt.Sscan(run(t, body, []string{key}, strconv.Itoa(many)), &first, &last, &now); err != nil {
			t.Fatal(err)
		}
		return first, last, now
	}
	first, last, now := next(3)
	if first != now || last != now+2 {
		t.Errorf("the first three: %d to %d at %d", first, last, now)
	}
	if again, end, now := next(1); again != now || end != now || again <= last {
		t.Errorf("one more: %d to %d at %d, after %d", again, end, now, last)
	}
	future := now + 3_600_000_000
	run(t, "return redis.call('SET', KEYS[1], ARGV[1]).ok", []string{key}, strconv.FormatInt(future, 10))
	for want := future + 1; want < future+7; want += 2 {
		if first, last, _ := next(2); first != want || last != want+1 {
			t.Errorf("ahead of the clock: %d to %d, want from %d", first, last, want)
		}
	}
	run(t, "return redis.call('SET', KEYS[1], 'x').ok", []string{key})
	if first, last, now := next(1); first != now || last != now {
		t.Errorf("after what is no number: %d to %d at %d", first, last, now)
	}
}
