package kv_test

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/fullon/fulloncache/internal/testenv"
)

// What scripts write as a time is that time, whatever the day.
func TestScriptsWriteTimes(t *testing.T) {
	t.Parallel()
	clock, err := os.ReadFile("scripts/include/clock.lua")
	must(t, err)
	body := string(clock) + `
local list = {}
for i, us in ipairs(ARGV) do
  list[i] = stamp(tonumber(us))
end
return list`
	var times []time.Time
	for year := 1970; year < 2255; year++ { // then Lua's numbers are not exact any more
		for _, day := range []time.Time{
			time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(year, 3, 1, 0, 0, 0, 0, time.UTC).Add(-time.Microsecond),
			time.Date(year, 3, 1, 0, 0, 0, 0, time.UTC), time.Date(year, 12, 31, 23, 59, 59, 999999000, time.UTC),
		} {
			times = append(times, day)
		}
		begin := time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro()
		for range 5 {
			times = append(times, time.UnixMicro(begin+rand.Int64N(365*24*3600*1e6)).UTC())
		}
	}
	words := []string{"EVAL", body, "0"}
	for _, at := range times {
		words = append(words, strconv.FormatInt(at.UnixMicro(), 10))
	}
	got, err := testenv.Redis(t).Do(t, words...).AsStrSlice()
	must(t, err)
	if len(got) != len(times) {
		t.Fatalf("%d times, want %d", len(got), len(times))
	}
	for i, at := range times {
		if want := at.Format("2006-01-02T15:04:05.000000000Z"); got[i] != want {
			t.Fatalf("%d µs is %s, want %s", at.UnixMicro(), got[i], want)
		}
	}
}
