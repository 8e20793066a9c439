package main

import (
	"fmt"
	"iter"
	"strings"
	"text/tabwriter"
	"time"
)

// table prints a list: as a table to people, one JSON object a line to programs.
func table[T any](a *app, head []string, list []T, cells func(T) []string) error {
	if a.json {
		for _, v := range list {
			if err := a.print(v, ""); err != nil {
				return err
			}
		}
		return nil
	}
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	rows := [][]string{head}
	for _, v := range list {
		rows = append(rows, cells(v))
	}
	for _, row := range rows {
		if _, err := fmt.Fprintln(w, strings.Join(row, "\t")); err != nil {
			return err
		}
	}
	return w.Flush()
}

// printAll prints the elements of a listing that can be read, reports the others,
// and fails if there was such a one.
func printAll[T any](a *app, what string, head []string, list iter.Seq2[T, error], cells func(T) []string) error {
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	row := func(cells []string) error {
		_, err := fmt.Fprintln(w, strings.Join(cells, "\t"))
		return err
	}
	if !a.json {
		if err := row(head); err != nil {
			return err
		}
	}
	bad := 0
	for v, err := range list {
		switch {
		case err != nil:
			bad++
			a.warn(err)
			continue
		case a.json:
			err = a.print(v, "")
		default:
			err = row(cells(v))
		}
		if err != nil {
			return err
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if bad > 0 {
		return fmt.Errorf("%d %s could not be listed", bad, what)
	}
	return nil
}

// people is how long a time is, for people.
func people(d time.Duration) string {
	switch {
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < 48*time.Hour:
		return d.Round(time.Second).String()
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}
