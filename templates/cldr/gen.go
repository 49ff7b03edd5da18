//go:build ignore

// Gen makes locales.txt of the Unicode CLDR's JSON packages:
//
//	npm pack cldr-core cldr-dates-full cldr-numbers-full cldr-misc-full
//	(unpack each into a folder of its own name)
//	go run gen.go FOLDER > locales.txt
//
// A line is a locale, a tab, and as JSON what of it differs from the line of
// its parent, which it names as "parent". Locales that CLDR covers at its
// "modern" level are taken in.
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
)

type tree map[string]any

func (t tree) at(path ...string) tree {
	for _, p := range path {
		next, ok := t[p].(map[string]any)
		if !ok {
			log.Fatalf("no %v", path)
		}
		t = next
	}
	return t
}

func (t tree) texts(names ...string) []string {
	var all []string
	for _, n := range names {
		v := t[n]
		if m, ok := v.(map[string]any); ok {
			v = m["_value"]
		}
		all = append(all, fmt.Sprint(v))
	}
	return all
}

func read(root string, parts ...string) tree {
	text, err := os.ReadFile(filepath.Join(append([]string{root}, parts...)...))
	if err != nil {
		log.Fatal(err)
	}
	var t tree
	if err := json.Unmarshal(text, &t); err != nil {
		log.Fatal(err)
	}
	return t
}

func main() {
	log.SetFlags(0)
	root := os.Args[1]
	levels := read(root, "cldr-core", "coverageLevels.json").at("effectiveCoverageLevels")
	parents := read(root, "cldr-core", "supplemental", "parentLocales.json").at("supplemental", "parentLocales", "parentLocale")
	digits := read(root, "cldr-core", "supplemental", "numberingSystems.json").at("supplemental", "numberingSystems")
	all := map[string]tree{}
	for locale, level := range levels {
		if _, err := os.Stat(filepath.Join(root, "cldr-dates-full", "main", locale)); err == nil && level == "modern" {
			all[locale] = collect(root, locale, digits)
		}
	}
	var names []string
	for name := range all {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		parent := parentOf(name, parents, all)
		own := tree{}
		for k, v := range all[name] {
			if parent == "" || !reflect.DeepEqual(v, all[parent][k]) {
				own[k] = v
			}
		}
		if parent != "" && len(own) == 0 {
			own = tree{} // known, and as its parent
		}
		if parent != "" {
			own["parent"] = parent
		}
		out, err := json.Marshal(own)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s\t%s\n", name, out)
	}
}

func parentOf(name string, parents tree, all map[string]tree) string {
	for {
		if p, ok := parents[name].(string); ok {
			name = p
		} else if i := strings.LastIndexByte(name, '-'); i > 0 {
			name = name[:i]
		} else {
			return ""
		}
		if name == "und" || name == "root" {
			return ""
		}
		if all[name] != nil {
			return name
		}
	}
}

func collect(root, locale string, digits tree) tree {
	dates := read(root, "cldr-dates-full", "main", locale, "ca-gregorian.json").at("main", locale, "dates", "calendars", "gregorian")
	numbers := read(root, "cldr-numbers-full", "main", locale, "numbers.json").at("main", locale, "numbers")
	lists := read(root, "cldr-misc-full", "main", locale, "listPatterns.json").at("main", locale, "listPatterns")
	system := numbers["defaultNumberingSystem"].(string)
	symbols := numbers.at("symbols-numberSystem-" + system)
	months := []string{"1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12"}
	days := []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}
	styles := []string{"full", "long", "medium", "short"}
	t := tree{
		"decimal": symbols["decimal"], "group": symbols["group"], "minus": symbols["minusSign"], "percent": symbols["percentSign"],
		"least":       numbers["minimumGroupingDigits"],
		"number":      numbers.at("decimalFormats-numberSystem-" + system)["standard"],
		"percentage":  numbers.at("percentFormats-numberSystem-" + system)["standard"],
		"months":      dates.at("months", "format", "wide").texts(months...),
		"shortMonths": dates.at("months", "format", "abbreviated").texts(months...),
		"days":        dates.at("days", "format", "wide").texts(days...),
		"loneDays":    dates.at("days", "stand-alone", "wide").texts(days...),
		"shortDays":   dates.at("days", "format", "abbreviated").texts(days...),
		"halves":      dates.at("dayPeriods", "format", "abbreviated").texts("am", "pm"),
		"era":         dates.at("eras", "eraAbbr")["1"],
		"date":        dates.at("dateFormats").texts(styles...),
		"time":        dates.at("timeFormats").texts("medium", "short"),
		"dateTime":    append(dates.at("dateTimeFormats-atTime", "standard").texts("full", "long"), dates.at("dateTimeFormats").texts("medium", "short")...),
		"and":         lists.at("listPattern-type-standard").texts("start", "middle", "end", "2"),
		"or":          lists.at("listPattern-type-or").texts("start", "middle", "end", "2"),
		"digits":      "",
	}
	if system != "latn" {
		t["digits"] = digits.at(system)["_digits"]
	}
	t["hours"] = []string{}
	if strings.Contains(strings.Join(t["time"].([]string), ""), "B") {
		t["hours"] = hours(root, locale, dates.at("dayPeriods", "format", "abbreviated"))
	}
	return t
}

// hours names the part of the day of each hour, where times are written so.
func hours(root, locale string, names tree) []string {
	rules := read(root, "cldr-core", "supplemental", "dayPeriods.json").at("supplemental", "dayPeriodRuleSet")
	for rules[locale] == nil {
		locale = locale[:strings.LastIndexByte(locale, '-')]
	}
	all := make([]string, 24)
	for name, rule := range rules.at(locale) {
		var from, to int
		limits, _ := rule.(map[string]any)
		if limits["_at"] != nil {
			continue
		}
		fmt.Sscanf(limits["_from"].(string), "%d", &from)
		fmt.Sscanf(limits["_before"].(string), "%d", &to)
		for h := from; h != to%24; h = (h + 1) % 24 {
			all[h] = names[name].(string)
		}
	}
	return all
}
