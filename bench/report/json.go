package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
)

// WriteFile writes the result as JSON, for compare and merge.
func WriteFile(name string, res *Result) error {
	data, err := json.MarshalIndent(res, "", " ")
	if err != nil {
		return fmt.Errorf("encode result: %w", err)
	}
	return os.WriteFile(name, append(data, '\n'), 0o644)
}

// ErrFile is wrapped by the error about a file that holds no result.
var ErrFile = errors.New("bench: not a result of lectern bench")

// ReadFile reads what WriteFile wrote.
func ReadFile(name string) (*Result, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	res := new(Result)
	if err := json.Unmarshal(data, res); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", name, ErrFile, err)
	}
	if res.Version != ResultVersion || res.Scenario == "" {
		return nil, fmt.Errorf("%s: %w of version %d", name, ErrFile, ResultVersion)
	}
	return res, nil
}

// ReadFiles reads several.
func ReadFiles(names []string) (results []*Result, err error) {
	for _, name := range names {
		res, err := ReadFile(name)
		if err != nil {
			return nil, err
		}
		results = append(results, res)
	}
	return results, nil
}
