package manual

import (
	"fmt"
	"io"
	"strings"

	"github.com/alecthomas/kong"
)

// Shells are those for which there is completion.
func Shells() []string { return []string{"bash", "zsh", "fish"} }

// WriteCompletion writes a script that completes the program's commands, options and
// their values in one of [Shells].
func (m Manual) WriteCompletion(w io.Writer, shell string) error {
	var b strings.Builder
	switch shell {
	case "bash":
		m.bash(&b)
	case "zsh":
		m.zsh(&b)
	case "fish":
		m.fish(&b)
	default:
		return fmt.Errorf("manual: no completion for the shell %q", shell)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// walk has the shell find the command in the words before the one to complete: into the
// variable at.
func (m Manual) walk(b *strings.Builder) {
	b.WriteString("\t\tcase \"$at $word\" in\n")
	for _, command := range commands(m.App) {
		before, last := "", nameOf(command)
		if at := strings.LastIndexByte(last, ' '); at >= 0 {
			before, last = last[:at], last[at+1:]
		}
		fmt.Fprintf(b, "\t\t%q) at=%q ;;\n", before+" "+last, nameOf(command))
	}
	b.WriteString("\t\tesac\n\tdone\n")
}

func (m Manual) bash(b *strings.Builder) {
	name := m.App.Name
	fmt.Fprintf(b, "# bash completion for %s\n_%s() {\n", name, name)
	b.WriteString("\tlocal cur=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]} at= word\n")
	b.WriteString("\tif [ \"$cur\" = = ]; then cur=\n\telif [ \"$previous\" = = ]; then previous=${COMP_WORDS[COMP_CWORD-2]}; fi\n")
	b.WriteString("\tCOMPREPLY=()\n\tfor word in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n")
	m.walk(b)
	b.WriteString("\tcase \"$at $previous\" in\n")
	m.eachValue(func(at string, flag *kong.Flag) {
		reply := "return" // the default completes file names
		if words := valuesOf(flag); words != nil {
			reply = fmt.Sprintf("COMPREPLY=($(compgen -W %q -- \"$cur\")); return", strings.Join(words, " "))
		} else if !isFile(flag) {
			reply = "compopt +o default; return"
		}
		fmt.Fprintf(b, "\t%q) %s ;;\n", at+" --"+flag.Name, reply)
	})
	b.WriteString("\tesac\n\tcase \"$at\" in\n")
	for _, command := range m.nodes() {
		var words []string
		for _, c := range choicesOf(command) {
			words = append(words, c[0])
		}
		fmt.Fprintf(b, "\t%q) COMPREPLY=($(compgen -W %q -- \"$cur\")) ;;\n", m.at(command), strings.Join(words, " "))
	}
	fmt.Fprintf(b, "\tesac\n}\ncomplete -o default -F _%s %s\n", name, name)
}

func (m Manual) zsh(b *strings.Builder) {
	name := m.App.Name
	fmt.Fprintf(b, "#compdef %s\n_%s() {\n\tlocal at= word\n\tlocal -a choices\n", name, name)
	b.WriteString("\tfor word in \"${(@)words[2,CURRENT-1]}\"; do\n")
	m.walk(b)
	b.WriteString("\tcase \"$at ${words[CURRENT-1]}\" in\n")
	m.eachValue(func(at string, flag *kong.Flag) {
		reply := "return"
		if words := valuesOf(flag); words != nil {
			reply = "compadd " + strings.Join(words, " ") + "; return"
		} else if isFile(flag) {
			reply = "_files; return"
		}
		fmt.Fprintf(b, "\t%q) %s ;;\n", at+" --"+flag.Name, reply)
	})
	b.WriteString("\tesac\n\tcase \"$at\" in\n")
	for _, command := range m.nodes() {
		fmt.Fprintf(b, "\t%q)\n\t\tchoices=(\n", m.at(command))
		for _, c := range choicesOf(command) {
			fmt.Fprintf(b, "\t\t\t%s\n", quoted(strings.ReplaceAll(c[0], ":", `\:`)+":"+c[1]))
		}
		b.WriteString("\t\t) ;;\n")
	}
	fmt.Fprintf(b, "\tesac\n\t_describe -o %s choices\n}\n_%s \"$@\"\n", name, name)
}

func (m Manual) fish(b *strings.Builder) {
	name := m.App.Name
	fmt.Fprintf(b, "# fish completion for %s\ncomplete -c %s -f\n", name, name)
	for _, command := range m.nodes() {
		when := fishCondition(m, command)
		for _, child := range command.Children {
			if !child.Hidden {
				fmt.Fprintf(b, "complete -c %s -n %s -a %s -d %s\n", name, quoted(when), child.Name, fishQuoted(child.Help))
			}
		}
		for _, flag := range flagsOf(command) {
			fmt.Fprintf(b, "complete -c %s -n %s -l %s -d %s", name, quoted(when), flag.Name, fishQuoted(flag.Help))
			switch words := valuesOf(flag); {
			case words != nil:
				fmt.Fprintf(b, " -x -a %s", quoted(strings.Join(words, " ")))
			case isFile(flag):
				b.WriteString(" -r -F")
			case !flag.IsBool():
				b.WriteString(" -x")
			}
			b.WriteString("\n")
		}
	}
}

// fishCondition returns when a command is the one whose options and commands may follow.
func fishCondition(m Manual, command *kong.Node) string {
	if command == m.App {
		return "__fish_use_subcommand"
	}
	when := "__fish_seen_subcommand_from " + command.Name
	var children []string
	for _, child := range command.Children {
		children = append(children, child.Name)
	}
	if children != nil {
		when += "; and not __fish_seen_subcommand_from " + strings.Join(children, " ")
	}
	return when
}

// nodes returns the program and its commands.
func (m Manual) nodes() []*kong.Node { return append([]*kong.Node{m.App}, commands(m.App)...) }

// at returns what the variable at holds after a command.
func (m Manual) at(command *kong.Node) string {
	if command == m.App {
		return ""
	}
	return nameOf(command)
}

// eachValue calls f for each flag that takes a value, with the command that it is of.
func (m Manual) eachValue(f func(at string, flag *kong.Flag)) {
	for _, command := range m.nodes() {
		for _, flag := range flagsFor(command) {
			if !flag.IsBool() {
				f(m.at(command), flag)
			}
		}
	}
}

// flagsFor returns the flags that may follow a command: its own, and those of the
// commands that it belongs to.
func flagsFor(command *kong.Node) (all []*kong.Flag) {
	for ; command != nil; command = command.Parent {
		all = append(all, flagsOf(command)...)
	}
	return all
}

// choicesOf returns the commands and flags that may follow a command, with their help.
func choicesOf(command *kong.Node) (all [][2]string) {
	for _, child := range command.Children {
		if !child.Hidden {
			all = append(all, [2]string{child.Name, child.Help})
		}
	}
	for _, flag := range flagsFor(command) {
		all = append(all, [2]string{"--" + flag.Name, flag.Help})
	}
	return all
}

// valuesOf returns the values that a flag may have, nil if they are not known.
func valuesOf(flag *kong.Flag) []string {
	if flag.Enum == "" {
		return nil
	}
	return flag.EnumSlice()
}

// isFile reports whether the value of a flag is a file or a directory.
func isFile(flag *kong.Flag) bool {
	switch flag.FormatPlaceHolder() {
	case "FILE", "DIR":
		return true
	}
	return false
}

// quoted returns text as one word of bash and zsh.
func quoted(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

// fishQuoted returns text as one word of fish.
func fishQuoted(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(text) + "'"
}
