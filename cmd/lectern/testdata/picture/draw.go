package main

import (
	"fmt"
	"html"
	"io"
	"strings"
	"unicode/utf8"
)

// Measures of the picture, in pixels.
const (
	columns    = 55 // characters of a line
	charWidth  = 7.8
	lineHeight = 19
	padding    = 14
	titleBar   = 28
	gap        = 16
	boxWidth   = columns*charWidth + 2*padding
	stepTime   = 0.8 // seconds
)

// A window is a terminal's place.
type window struct {
	title  string
	x, y   float64
	height float64
}

const style = `text{font:13px ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;fill:#d6deeb;white-space:pre}
.box{fill:#0f1b2d}.bar{fill:#1d2f49}.title{fill:#8fa3bf;font-weight:600}.sent{fill:#ffd479}.mark{fill:#5f7da5}
.line{animation:appear .25s both}@keyframes appear{from{opacity:0}to{opacity:1}}
@media (prefers-reduced-motion:reduce){.line{animation:none}}`

// draw writes the picture. Without animation it shows all lines.
func draw(to io.Writer, lines []shownLine) error {
	rows := [terminals]int{}
	for _, l := range lines {
		rows[l.terminal] += len(wrapped(l.text))
	}
	height := func(terminal int) float64 { return titleBar + padding + float64(rows[terminal]*lineHeight) }
	right := max(height(ada)+gap+height(ben), height(host))
	windows := [terminals]window{
		host: {"host", 0, 0, right},
		ada:  {"viewer Ada", boxWidth + gap, 0, height(ada)},
		ben:  {"viewer Ben", boxWidth + gap, height(ada) + gap, right - height(ada) - gap},
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" role="img">`+"\n", 2*boxWidth+gap, right)
	b.WriteString("<title>A host and two viewers of a room</title>\n<style>" + style + "</style>\n")
	for _, w := range windows {
		fmt.Fprintf(&b, `<rect class="box" x="%.1f" y="%.1f" width="%.1f" height="%.1f" rx="8"/>`, w.x, w.y, boxWidth, w.height)
		fmt.Fprintf(&b, `<rect class="bar" x="%.1f" y="%.1f" width="%.1f" height="%d" rx="8"/>`, w.x, w.y, boxWidth, titleBar)
		fmt.Fprintf(&b, `<text class="title" x="%.1f" y="%.1f">%s</text>`+"\n", w.x+padding, w.y+19, w.title)
	}
	used := [terminals]int{}
	for _, l := range lines {
		w := windows[l.terminal]
		class, mark := "line", "&lt;"
		if l.sent {
			class, mark = "line sent", "&gt;"
		}
		fmt.Fprintf(&b, `<g class="%s" style="animation-delay:%.1fs">`, class, 0.5+stepTime*float64(l.step))
		for i, part := range wrapped(l.text) {
			y := w.y + titleBar + padding + 7 + float64(used[l.terminal]*lineHeight)
			if i == 0 {
				fmt.Fprintf(&b, `<text class="mark" x="%.1f" y="%.1f">%s</text>`, w.x+padding, y, mark)
			}
			fill := ""
			if l.sent {
				fill = ` class="sent"`
			}
			fmt.Fprintf(&b, `<text%s x="%.1f" y="%.1f">%s</text>`, fill, w.x+padding+2*charWidth, y, html.EscapeString(part))
			used[l.terminal]++
		}
		b.WriteString("</g>\n")
	}
	b.WriteString("</svg>\n")
	_, err := io.WriteString(to, b.String())
	return err
}

// wrapped cuts a text into lines, behind a comma where that is possible.
func wrapped(text string) (lines []string) {
	const width = columns - 2
	for utf8.RuneCountInString(text) > width {
		runes := []rune(text)
		cut := strings.LastIndexByte(string(runes[:width]), ',') + 1
		if cut == 0 {
			cut = len(string(runes[:width]))
		}
		lines = append(lines, text[:cut])
		text = text[cut:]
	}
	return append(lines, text)
}
