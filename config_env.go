package fulloncache

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/joho/godotenv"
)

// Environment returns the process environment with, behind it, the settings of
// the file that DOTENV_FILE names (which must exist) or else of the nearest
// .env of the working folder and its parents (which need not). A variable of
// the process wins over the file. Nothing is set in the process.
func Environment() (map[string]string, error) {
	vars := make(map[string]string)
	for _, kv := range os.Environ() {
		name, value, _ := strings.Cut(kv, "=")
		vars[name] = value
	}
	file, err := dotenv(vars["DOTENV_FILE"])
	if err != nil {
		return nil, err
	}
	for name, value := range file {
		if _, ok := vars[name]; !ok {
			vars[name] = value
		}
	}
	return vars, nil
}

var (
	variable    = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.]*$`)
	errNotAName = errors.New("not a name")
)

// dotenv reads the named file, or the nearest .env if there is one.
func dotenv(named string) (map[string]string, error) {
	path := named
	if path == "" {
		var err error
		if path, err = nearest(".env"); path == "" {
			return nil, err
		}
	}
	vars, err := godotenv.Read(path)
	for name := range vars {
		if !variable.MatchString(name) {
			err = errNotAName // the parser takes "A B=c" and "c" for settings, too
		}
	}
	var file *fs.PathError
	switch {
	case errors.As(err, &file):
		return nil, &ConfigError{Variable: "DOTENV_FILE", Value: path, Want: "a readable file", Err: file.Err}
	case err != nil:
		// The parser's own message quotes the line, which may hold a password.
		return nil, &ConfigError{Variable: "DOTENV_FILE", Value: path, Want: "lines of the form NAME=value"}
	}
	return vars, nil
}

// nearest returns the path of the file in the working folder or the closest of
// its parents, or "".
func nearest(name string) (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", &ConfigError{Variable: "DOTENV_FILE", Want: "the name of a file, since the working folder is unknown", Err: err}
	}
	for {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			return path, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", nil
		}
		dir = parent
	}
}
