package hub_test

import (
	"lectern/hub"
	"lectern/hub/classroom"
	"lectern/hub/echo"
)

func init() {
	hub.SpeakInTests(
		func() hub.Dialect { return classroom.New() },
		func() hub.EventStream { return classroom.NewEvents() },
		func() hub.Dialect { return echo.Dialect{} },
		classroom.Publish,
	)
}
