// Package tap says what a test found, in the Test Anything Protocol: what the validation programs of
// runtime-tools call of mndrix/tap-go, which Debian does not carry.
package tap

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
)

// T counts what was found.
type T struct {
	count  *int
	isTodo bool
	Writer io.Writer
}

// New begins.
func New() *T { return &T{count: new(int), Writer: os.Stdout} }

func (t *T) say(text string) { fmt.Fprintln(t.Writer, text) }

// Header says how many results there will be; with 0, AutoPlan does at the end.
func (t *T) Header(planned int) {
	t.say("TAP version 13")
	if planned > 0 {
		t.say(fmt.Sprintf("1..%d", planned))
	}
}

// AutoPlan says how many results there were.
func (t *T) AutoPlan() { t.say(fmt.Sprintf("1..%d", *t.count)) }

// Ok is a result.
func (t *T) Ok(good bool, what string) {
	*t.count++
	word := "ok"
	if !good {
		word = "not ok"
	}
	if t.isTodo {
		what = "# TODO " + what
	} else {
		what = "- " + what
	}
	t.say(fmt.Sprintf("%s %d %s", word, *t.count, what))
}

// Todo is for a result that is not wanted yet.
func (t *T) Todo() *T { return &T{count: t.count, isTodo: true, Writer: t.Writer} }

// Pass is a good result.
func (t *T) Pass(what string) { t.Ok(true, what) }

// Fail is a bad result.
func (t *T) Fail(what string) { t.Ok(false, what) }

// Skip is a number of results that were not looked for.
func (t *T) Skip(number int, why string) {
	for ; number > 0; number-- {
		*t.count++
		t.say(fmt.Sprintf("ok %d # SKIP %s", *t.count, why))
	}
}

// Diagnostic explains.
func (t *T) Diagnostic(text string) { t.say("# " + strings.ReplaceAll(text, "\n", "\n# ")) }

// Diagnosticf explains.
func (t *T) Diagnosticf(format string, words ...interface{}) {
	t.Diagnostic(fmt.Sprintf(format, words...))
}

// YAML explains the result before it; JSON is YAML.
func (t *T) YAML(value interface{}) error {
	text, err := json.MarshalIndent(value, "  ", "  ")
	if err == nil {
		t.say("  ---\n  " + string(text) + "\n  ...")
	}
	return err
}
