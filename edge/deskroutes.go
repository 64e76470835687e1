package edge

// deskRoutes are the calls about tickets, and about those who work on them.
func (e *Edge) deskRoutes() {
	e.app.Get("/inbox", e.reads(e.inboxPage))
	e.ticketRoutes()
	e.ticketDeskRoutes()
	e.agentRoutes()
	e.settingRoutes()
	e.savedRoutes()
}

// ticketRoutes are what requesters may do too, with tickets of their own.
func (e *Edge) ticketRoutes() {
	e.app.Get("/tickets", e.reads(e.listTickets))
	e.app.Post("/tickets", e.works(e.createTicket))
	e.app.Get("/tickets/:ticket", e.reads(e.showTicket))
	e.app.Post("/tickets/:ticket/transition", e.works(e.moveTicket))
	e.app.Get("/tickets/:ticket/comments", e.reads(e.listComments(false)))
	e.app.Post("/tickets/:ticket/comments", e.writes(e.comment(false)))
	e.app.Post("/tickets/:ticket/followup", e.works(e.followUpTicket))
	e.app.Post("/tickets/:ticket/rate", e.works(e.rateTicket))
	e.app.Get("/tickets/:ticket/place", e.reads(about(e.cfg.Desk.TicketPlace)))
}

// ticketDeskRoutes are what only the desk does with tickets, and sees of them.
func (e *Edge) ticketDeskRoutes() {
	e.app.Post("/tickets/bulk", e.works(e.bulkTickets))
	e.app.Patch("/tickets/:ticket", e.works(e.deskOnly(e.patchTicket)))
	e.app.Get("/tickets/:ticket/notes", e.reads(e.deskOnly(e.listComments(true))))
	e.app.Post("/tickets/:ticket/notes", e.writes(e.deskOnly(e.comment(true))))
	e.app.Get("/tickets/:ticket/history", e.reads(e.deskOnly(e.ticketHistory)))
	e.app.Get("/tickets/:ticket/clocks", e.reads(e.deskOnly(aboutList("clocks", e.cfg.Desk.TicketClocks))))
	e.app.Get("/tickets/:ticket/why", e.reads(e.deskOnly(about(e.cfg.Desk.WhyTicket))))
	e.app.Get("/tickets/:ticket/links", e.reads(e.deskOnly(aboutList("links", e.cfg.Tickets.TicketLinks))))
	e.app.Post("/tickets/:ticket/links", e.works(e.deskOnly(e.addLink)))
	e.app.Post("/tickets/:ticket/fields", e.works(e.deskOnly(e.setFields)))
	e.app.Put("/tickets/:ticket/links/:other", e.works(e.deskOnly(e.linkTicket(false))))
	e.app.Delete("/tickets/:ticket/links/:other", e.works(e.deskOnly(e.linkTicket(true))))
	e.app.Get("/tickets/:ticket/watchers", e.reads(e.deskOnly(aboutList("watchers", e.cfg.Tickets.TicketWatchers))))
	e.app.Put("/tickets/:ticket/watchers/:user", e.works(e.deskOnly(e.watchTicket(false))))
	e.app.Delete("/tickets/:ticket/watchers/:user", e.works(e.deskOnly(e.watchTicket(true))))
	e.app.Post("/tickets/:ticket/assign", e.works(e.deskOnly(e.assignTicket)))
	e.app.Post("/tickets/:ticket/unassign", e.works(e.deskOnly(e.unassignTicket)))
	e.app.Post("/tickets/:ticket/transfer", e.works(e.deskOnly(e.transferTicket)))
	e.app.Post("/tickets/:ticket/tags", e.works(e.deskOnly(e.tagTicket)))
	e.app.Post("/tickets/:ticket/merge", e.works(e.deskOnly(e.mergeTicket)))
	e.app.Post("/tickets/:ticket/split", e.works(e.deskOnly(e.splitTicket)))
	e.app.Post("/tickets/:ticket/attend", e.works(e.deskOnly(e.attendTicket)))
	e.app.Post("/tickets/:ticket/macros/:macro", e.works(e.deskOnly(e.applyMacro)))
}
