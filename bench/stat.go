package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// contestant is one way to do the work of a benchmark.
type contestant struct {
	name string
	// round does a round and returns its figure: the p50 in nanoseconds, the
	// nanoseconds of one operation in a loop, or operations per second; and the
	// single latencies it measured.
	round func() (figure float64, samples []time.Duration, err error)
}

// series is what a contestant reached in all rounds.
type series struct {
	name    string
	figures []float64
	samples []time.Duration
}

func (s series) quantile(q float64) time.Duration { return quantile(s.samples, q) }

// alternate runs the contestants in turn, round by round, each round beginning
// with another, so that what drifts on the machine drifts for all.
func alternate(rounds int, contestants []contestant) ([]series, error) {
	all := make([]series, len(contestants))
	for i, c := range contestants {
		all[i].name = c.name
		if _, _, err := c.round(); err != nil { // warm up
			return nil, err
		}
	}
	for round := range rounds {
		for k := range contestants {
			i := (round + k) % len(contestants)
			figure, samples, err := contestants[i].round()
			if err != nil {
				return nil, err
			}
			all[i].figures = append(all[i].figures, figure)
			all[i].samples = append(all[i].samples, samples...)
		}
	}
	finish(all)
	return all, nil
}

// finish sorts the samples and tells how all fared.
func finish(all []series) {
	for i := range all {
		slices.Sort(all[i].samples)
		fmt.Fprintf(os.Stderr, "    %-60s %s: %s to the first\n", all[i].name, thousands(median(all[i].figures)), ratios(all[i], all[0]))
	}
}

// best returns the peer to beat: the one with the best median figure.
func best(peers []series, higherIsBetter bool) series {
	return slices.MinFunc(peers, func(a, b series) int {
		x, y := median(a.figures), median(b.figures)
		if higherIsBetter {
			x, y = y, x
		}
		switch {
		case x < y:
			return -1
		case x > y:
			return 1
		}
		return 0
	})
}

// spread is the median of the ratios of all rounds, the median deviation from
// it, and the extremes.
type spread struct{ median, deviation, min, max float64 }

func ratios(a, b series) spread {
	r := make([]float64, len(a.figures))
	for i := range r {
		r[i] = a.figures[i] / b.figures[i]
	}
	m := median(r)
	deviations := make([]float64, len(r))
	for i := range r {
		deviations[i] = math.Abs(r[i] - m)
	}
	return spread{m, median(deviations), slices.Min(r), slices.Max(r)}
}

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	n := len(s)
	if n%2 == 1 {
		return s[n/2]
	}
	return (s[n/2-1] + s[n/2]) / 2
}

// quantile of sorted samples; 0 if there are none.
func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

// caller is one way to do a call; op reports how long it took.
type caller struct {
	name string
	op   func() (time.Duration, error)
}

// timed times an op by the clock.
func timed(op func() error) func() (time.Duration, error) {
	return func() (time.Duration, error) {
		start := time.Now()
		err := op()
		return time.Since(start), err
	}
}

// interleave lets the callers take turns call by call, so that what disturbs the
// machine disturbs all alike. They do so in random order: who always comes behind
// the same one is the slower for what that has left in the caches. The figure of a
// round is the p50 of its n calls.
func interleave(rounds, n int, callers []caller) ([]series, error) {
	all := make([]series, len(callers))
	for round := range rounds + 1 { // the first one warms up
		samples := make([][]time.Duration, len(callers))
		for range n {
			for _, i := range rand.Perm(len(callers)) {
				took, err := callers[i].op()
				if err != nil {
					return nil, err
				}
				samples[i] = append(samples[i], took)
			}
		}
		for i := range callers {
			all[i].name = callers[i].name
			if round == 0 {
				continue
			}
			slices.Sort(samples[i])
			all[i].figures = append(all[i].figures, float64(quantile(samples[i], 0.5)))
			all[i].samples = append(all[i].samples, samples[i]...)
		}
	}
	finish(all)
	return all, nil
}

// throughput is a round of many callers for a while; its figure is calls per
// second.
func throughput(callers int, window time.Duration, op func(caller int) error) func() (float64, []time.Duration, error) {
	return func() (float64, []time.Duration, error) {
		var (
			wg      sync.WaitGroup
			stop    atomic.Bool
			counts  = make([]int, callers)
			samples = make([][]time.Duration, callers)
			failed  atomic.Pointer[error]
		)
		start := time.Now()
		for i := range callers {
			wg.Go(func() {
				for !stop.Load() {
					from := time.Now()
					if err := op(i); err != nil {
						failed.Store(&err)
						return
					}
					samples[i] = append(samples[i], time.Since(from))
					counts[i]++
				}
			})
		}
		time.Sleep(window)
		stop.Store(true)
		wg.Wait()
		took := time.Since(start)
		if err := failed.Load(); err != nil {
			return 0, nil, *err
		}
		total := 0
		for _, n := range counts {
			total += n
		}
		return float64(total) / took.Seconds(), slices.Concat(samples...), nil
	}
}

// loop is a round of n operations in a tight loop, for what takes nanoseconds;
// its figure is the time of one. Some single ones are timed beside it, the cost
// of the clock included.
func loop(n int, ops func(n int) error) func() (float64, []time.Duration, error) {
	return func() (float64, []time.Duration, error) {
		start := time.Now()
		if err := ops(n); err != nil {
			return 0, nil, err
		}
		figure := float64(time.Since(start)) / float64(n)
		samples := make([]time.Duration, min(n, 5000))
		for i := range samples {
			from := time.Now()
			if err := ops(1); err != nil {
				return 0, nil, err
			}
			samples[i] = time.Since(from)
		}
		return figure, samples, nil
	}
}
