package docs_test

import (
	"io/fs"
	"os"
	"strings"
	"testing"

	"github.com/fullon/fulloncache/docs"
)

// Each topic is a file, each file a topic, and each begins with a title and a
// sentence that says what it is about.
func TestTopicsAreTheFiles(t *testing.T) {
	all := docs.All()
	err := fs.WalkDir(os.DirFS("."), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() && name == "decisions" {
			return fs.SkipDir
		}
		if topic, ok := strings.CutSuffix(name, ".md"); ok {
			if all[topic] == "" {
				t.Errorf("%s is no topic, or empty", name)
			}
			delete(all, topic)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for topic := range all {
		t.Errorf("topic %s is no file", topic)
	}
	whole := docs.Whole()
	for _, topic := range docs.Topics() {
		lines := strings.SplitN(topic.Text(), "\n", 4)
		if len(lines) < 4 || !strings.HasPrefix(lines[0], "# ") || lines[1] != "" || lines[2] != topic.About() || !strings.HasSuffix(lines[2], ".") {
			t.Errorf("%s begins with %q", topic, lines)
		}
		if !strings.Contains(whole, strings.TrimSpace(topic.Text())) {
			t.Errorf("Whole lacks %s", topic)
		}
	}
	if docs.Topic("nonsense").Text() != "" || docs.Topic("nonsense").About() != "" {
		t.Error("there is a guide called nonsense")
	}
}

// llms.txt points to every guide.
func TestLLMs(t *testing.T) {
	text, err := os.ReadFile("../llms.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, topic := range docs.Topics() {
		if link := "(docs/" + string(topic) + ".md)"; !strings.Contains(string(text), link) {
			t.Errorf("llms.txt lacks %s", link)
		}
	}
}
