package e2e

import "time"

// The limits of the relay that no option sets. They are repeated here because
// these tests see the relay from outside.
const (
	maxAdmin       = 16               // connections of the admin address
	requestTimeout = 15 * time.Second // for the head and the body
	lingerTimeout  = time.Second      // for the rest of a body that was answered before it came
	answerTimeout  = 10 * time.Second // from the answer's first byte to its last
	perAddress     = 4                // an address has a quarter of the plain HTTP connections
	httpConnBytes  = 44 << 10         // counted for each of them

	reservedDescriptors = 64 // that no connection takes
	workerDescriptors   = 4  // of each worker

	webSocketMethods = "GET, HEAD, OPTIONS" // of the WebSockets' paths
)
