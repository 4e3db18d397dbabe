// Package manual writes what a command's declaration says in other forms: a manual page
// and shell completion. It knows nothing of what the commands do.
package manual

import (
	"fmt"
	"io"
	"strings"

	"github.com/alecthomas/kong"
)

// A Manual describes a program.
type Manual struct {
	App     *kong.Node
	Version string
	// Notes follow the description of the commands: pairs of a heading and a paragraph.
	Notes [][2]string
}

// WritePage writes the manual page of section 1, for man(7).
func (m Manual) WritePage(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, ".TH %s 1 \"\" \"%s\"\n", strings.ToUpper(m.App.Name), roff(m.Version))
	fmt.Fprintf(&b, ".SH NAME\n%s \\- %s\n", roff(m.App.Name), roff(strings.TrimSuffix(m.App.Help, ".")))
	fmt.Fprintf(&b, ".SH SYNOPSIS\n.B %s\n.I COMMAND\n[\\fIOPTION\\fR...]\n", roff(m.App.Name))
	b.WriteString(".SH COMMANDS\n")
	for _, command := range commands(m.App) {
		fmt.Fprintf(&b, ".TP\n.B %s\n%s\n", roff(nameOf(command)), roff(command.Help))
	}
	described := make(map[string]string) // commands by their flags
	for _, command := range commands(m.App) {
		writeOptions(&b, command, described)
	}
	for _, note := range m.Notes {
		fmt.Fprintf(&b, ".SH %s\n%s\n", strings.ToUpper(roff(note[0])), roff(note[1]))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// writeOptions describes the options of a command, unless another command has the same.
func writeOptions(b *strings.Builder, command *kong.Node, described map[string]string) {
	flags := flagsOf(command)
	var names []string
	for _, flag := range flags {
		names = append(names, flag.Name)
	}
	if len(names) == 0 {
		return
	}
	key := strings.Join(names, " ")
	fmt.Fprintf(b, ".SH OPTIONS OF %s\n", strings.ToUpper(roff(nameOf(command))))
	if same := described[key]; same != "" {
		fmt.Fprintf(b, "Those of\n.BR %s .\n", roff(same))
		return
	}
	described[key] = nameOf(command)
	var group *kong.Group
	for _, flag := range flags {
		if flag.Group != nil && flag.Group != group {
			group = flag.Group
			fmt.Fprintf(b, ".SS %s\n", roff(strings.TrimSuffix(group.Title, ":")))
			if group.Description != "" {
				fmt.Fprintf(b, "%s\n", roff(group.Description))
			}
		}
		fmt.Fprintf(b, ".TP\n.B \\-\\-%s", roff(flag.Name))
		if !flag.IsBool() {
			fmt.Fprintf(b, "=\\fI%s\\fR", roff(flag.FormatPlaceHolder()))
		}
		fmt.Fprintf(b, "\n%s\n", roff(flag.Help))
	}
}

// commands returns the commands that have options or do something, each after the one
// that it belongs to.
func commands(app *kong.Node) (all []*kong.Node) {
	for _, child := range app.Children {
		if child.Hidden || child.Type != kong.CommandNode {
			continue
		}
		all = append(all, child)
		all = append(all, commands(child)...)
	}
	return all
}

// nameOf returns a command as it is typed, without the program.
func nameOf(command *kong.Node) string {
	if command.Parent == nil || command.Parent.Type != kong.CommandNode {
		return command.Name
	}
	return nameOf(command.Parent) + " " + command.Name
}

// flagsOf returns the flags that a command declares, without --help.
func flagsOf(command *kong.Node) (all []*kong.Flag) {
	for _, flag := range command.Flags {
		if !flag.Hidden && flag.Name != "help" {
			all = append(all, flag)
		}
	}
	return all
}

// roff escapes text for man(7). A hyphen stays one when it is copied.
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "\n", " ").Replace(text)
	if strings.HasPrefix(text, ".") {
		text = `\&` + text
	}
	return text
}
