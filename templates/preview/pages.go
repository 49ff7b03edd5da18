package preview

import (
	"bytes"
	"embed"
	"fmt"
	"html"
	"html/template"
	"io"
	"slices"
	"strings"
	"unicode"

	"github.com/carillonhq/carillon/notice"
	"github.com/carillonhq/carillon/templates"
)

//go:embed pages
var pageFiles embed.FS

// viewPage is the page of one rendering.
const viewPage = "view.html"

// pages are the files that a browser opens from a disk. They load nothing,
// neither from elsewhere nor from beside them, but for the index's thumbnails
// and the assets of an export.
type pages struct{ all *template.Template }

func parsePages() (pages, error) {
	all, err := template.ParseFS(pageFiles, "pages/*.html")
	if err != nil {
		return pages{}, fmt.Errorf("the pages in this binary: %w", err)
	}
	return pages{all}, nil
}

func (p pages) execute(name string, data any) ([]byte, error) {
	var b bytes.Buffer
	if err := p.all.ExecuteTemplate(&b, name, data); err != nil {
		return nil, fmt.Errorf("write %s: %w", name, err)
	}
	return b.Bytes(), nil
}

// frame is a mail as the content of a frame that can run nothing and load no
// more than the page, whose policy it inherits.
func frame(mail string) template.HTMLAttr {
	return template.HTMLAttr(`srcdoc="` + html.EscapeString(mail) + `"`)
}

// itemView is an item for the pages.
type itemView struct {
	Item
	Folder string // with slashes, relative to the index
	Files  []string
	Frame  template.HTMLAttr
}

func viewItem(i Item) itemView {
	v := itemView{Item: i, Folder: i.folder()}
	for _, p := range i.Parts() {
		if p.Name != "email.headers" {
			v.Files = append(v.Files, p.Name)
		}
	}
	if i.Content.Email != nil {
		v.Frame = frame(i.Content.Email.HTML)
	}
	return v
}

// Href is the item's page as an address relative to the index. Each piece of
// its path is escaped, also what the file's name has escaped already.
func (v itemView) Href() string {
	return strings.ReplaceAll(v.Folder, "%", "%25") + "/" + viewPage
}

// Channels are those that were rendered, in order.
func (v itemView) Channels() []notice.Medium {
	return slices.DeleteFunc(notice.Media(), func(m notice.Medium) bool { _, ok := v.Locales[m]; return !ok })
}

// Used is the locale that stands in for the one that was asked for; empty
// where a channel has its own.
func (v itemView) Used() string {
	used := ""
	for _, locale := range v.Locales {
		if locale == v.Locale {
			return ""
		}
		used = max(used, locale)
	}
	return used
}

// Headline is what a reader sees of it first.
func (v itemView) Headline() string {
	switch {
	case v.Content.Email != nil:
		return v.Content.Email.Subject
	case v.Content.Push != nil:
		return strings.TrimSpace(v.Content.Push.Title + " " + v.Content.Push.Body)
	}
	return ""
}

// Words are what the search looks in: all of it, and its single words, so that
// "de" finds a locale and not every order.
func (v itemView) Words() string {
	words := []string{v.Template, v.Category, v.Locale, v.Sample, v.Headline()}
	for _, m := range v.Channels() {
		words = append(words, string(m))
	}
	all := strings.ToLower(strings.Join(words, " "))
	pieces := strings.FieldsFunc(all, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	return " " + all + " " + strings.Join(pieces, " ")
}

// PushJSON and WebhookJSON are what the item's page shows.
func (v itemView) PushJSON() string    { return pushJSON(v.Content.Push, nil) }
func (v itemView) WebhookJSON() string { return indented(v.Content.Webhook) }

// view is the page of one rendering.
func (p pages) view(i Item) ([]byte, error) { return p.execute("view.html", viewItem(i)) }

// templateGroup is one template on the index.
type templateGroup struct {
	Name, Category, Version string
	Items                   []itemView
}

// index is the page of all renderings.
func (p pages) index(items []Item) ([]byte, error) {
	var groups []templateGroup
	failed := 0
	for _, i := range items {
		if len(groups) == 0 || groups[len(groups)-1].Name != i.Template {
			groups = append(groups, templateGroup{Name: i.Template, Category: i.Category, Version: i.Version})
		}
		g := &groups[len(groups)-1]
		v := viewItem(i)
		v.Frame = "" // the thumbnail is the item's own page
		g.Items = append(g.Items, v)
		if i.Err != nil {
			failed++
		}
	}
	return p.execute("index.html", struct {
		Groups        []templateGroup
		Total, Failed int
	}{groups, len(items), failed})
}

// WritePage writes one rendering as a page for a browser.
func (r Result) WritePage(w io.Writer) error {
	p, err := parsePages()
	if err != nil {
		return err
	}
	page, err := p.view(Item{Result: r})
	if err != nil {
		return err
	}
	_, err = w.Write(page)
	return err
}

// specimen is an item as a delivery of the made-up person.
func (i Item) specimen() Specimen {
	made := templates.SampleRequest(&templates.Template{Name: i.Template}, "", i.Locale)
	return Specimen{ID: made.ID, Template: i.Template, Category: i.Category, Lane: i.Lane, To: made.To, Content: i.Content, At: made.AcceptedAt}
}
