// Command covergate holds the library to full statement coverage.
//
//	go run ./scripts/covergate -packages                 print the library's packages, for -coverpkg
//	go run ./scripts/covergate coverage.out…             judge what the profiles say together
//	go run ./scripts/covergate -missed coverage.out…     print the folders whose statements they miss
//
// It fails when a statement of the library ran in no test, unless coverage.exempt
// names it with a reason, when an exemption is stale, and when there are more
// exempt blocks than -cap allows. It prints what is exempt and what is missing.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// notLibrary are the folders whose packages need no full coverage, with all
// below them: programs, and what only tests use. (bench and tools are modules of
// their own.)
var notLibrary = []string{"cmd", "examples", "internal/testenv", "scripts"}

func main() {
	var o options
	flag.BoolVar(&o.packages, "packages", false, "print the library's packages and stop")
	flag.BoolVar(&o.missed, "missed", false, "print the folders with statements that did not run and stop")
	flag.StringVar(&o.exempt, "exempt", "coverage.exempt", "the `file` of exemptions")
	flag.IntVar(&o.limit, "cap", 10, "how many blocks may be exempt")
	flag.Parse()
	if err := run(os.Stdout, o, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "covergate:", err)
		os.Exit(1)
	}
}

// options are the flags.
type options struct {
	packages, missed bool
	exempt           string
	limit            int
}

func run(out io.Writer, o options, profiles []string) error {
	library, err := libraryPackages()
	if err != nil {
		return err
	}
	if o.packages {
		paths := make([]string, len(library))
		for i, p := range library {
			paths[i] = p.ImportPath
		}
		_, err := fmt.Fprintln(out, strings.Join(paths, ","))
		return err
	}
	if len(profiles) == 0 {
		return errors.New("name a coverage profile")
	}

	var ran profile
	for _, name := range profiles {
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if err := ran.read(bytes.NewReader(text)); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	text, err := os.ReadFile(o.exempt)
	if err != nil {
		return err
	}
	entries, err := parseExemptions(string(text))
	if err != nil {
		return fmt.Errorf("%s: %w", o.exempt, err)
	}
	sources, err := readSources(library)
	if err != nil {
		return err
	}
	c := survey(sources, ran.blocks, entries)
	if o.missed {
		_, err := fmt.Fprintln(out, strings.Join(c.missed(), " "))
		return err
	}
	return c.judge(out, entries, o.limit)
}

// goPackage is what go list tells of a package.
type goPackage struct {
	ImportPath string
	Dir        string
	GoFiles    []string
	Module     struct{ Path string }
}

// libraryPackages lists the packages that the gate is about.
func libraryPackages() ([]goPackage, error) {
	cmd := exec.Command("go", "list", "-json=ImportPath,Dir,GoFiles,Module", "./...")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	var library []goPackage
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return library, nil
		} else if err != nil {
			return nil, fmt.Errorf("go list: %w", err)
		}
		if isLibrary(p.folder()) {
			library = append(library, p)
		}
	}
}

// folder is the package's folder within its module, "" for the root.
func (p goPackage) folder() string {
	return strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, p.Module.Path), "/")
}

func isLibrary(folder string) bool {
	return !slices.ContainsFunc(notLibrary, func(dir string) bool {
		return folder == dir || strings.HasPrefix(folder, dir+"/")
	})
}

// readSources parses the library's files.
func readSources(library []goPackage) ([]*source, error) {
	var sources []*source
	for _, p := range library {
		for _, name := range p.GoFiles {
			text, err := os.ReadFile(filepath.Join(p.Dir, name))
			if err != nil {
				return nil, err
			}
			s, err := parseSource(path.Join(p.folder(), name), text)
			if err != nil {
				return nil, err
			}
			s.profile = p.ImportPath + "/" + name
			sources = append(sources, s)
		}
	}
	return sources, nil
}
