package config

import (
	"fmt"
	"reflect"
)

// Replace returns how s differs from the settings in force; of a key it tells
// only the name. Options that are read at the start only keep the value in force
// and are listed in restart. Replace must be called before s is shared.
func (s *Settings) Replace(old *Settings) (changed, restart []string) {
	changed, restart = []string{}, []string{} // in the log [] and not null
	for i, set := range s.all {
		before, after := old.all[i].target, set.target
		if reflect.DeepEqual(before.Interface(), after.Interface()) {
			continue
		}
		difference := fmt.Sprintf("%s: %v -> %v", set.name, before, after)
		if set.restart {
			restart = append(restart, difference)
			after.Set(before)
			set.source = old.all[i].source
		} else {
			changed = append(changed, difference)
		}
	}
	for _, keys := range [][2]accessKey{{old.createKey, s.createKey}, {old.apiKey, s.apiKey}} {
		if keys[0].value.Reveal() != keys[1].value.Reveal() {
			changed = append(changed, keys[1].name)
		}
	}
	return changed, restart
}
