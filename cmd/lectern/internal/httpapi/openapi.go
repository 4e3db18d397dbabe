package httpapi

import (
	_ "embed"
	"net/http"
)

// description is the API in OpenAPI 3.1. Tests compare it with the routes and with
// their answers.
//
//go:embed openapi.json
var description []byte

func serveDescription(w http.ResponseWriter, _ *http.Request) {
	write(w, http.StatusOK, description)
}
