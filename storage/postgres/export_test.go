package postgres

import (
	"fmt"

	"vezeuniqverse.com/vezechat"
)

// Statements whose plans are tested.
var Statements = map[string]string{
	"history before": messagesBefore,
	"history after":  messagesAfter,
	"message":        messageByID,
	"nonce":          messageByNonce,
	"events":         selectEvents,
	"search room":    searchRoom,
	"search all":     searchAll,
	"rooms":          selectRooms,
	"unread":         selectUnread,
	"members":        selectMembers,
	"access":         selectAccess,
	"desk events":    selectDeskEvents,
	"ticket events":  selectTicketEvents,
}

// PersonalColumns are the columns by which users' data are found, as table.column.
func PersonalColumns() (out []string) {
	for _, p := range personalTables() {
		for _, c := range p.columns {
			out = append(out, p.table+"."+c)
		}
		if p.payload {
			out = append(out, p.table+".payload")
		}
	}
	return out
}

// TicketSearch is the list of tickets in which words were said, $1, as a caller sees it.
func TicketSearch(by vezechat.Caller) string {
	var c conditions
	c.filter(&vezechat.TicketFilter{Query: "x"}, by)
	if !by.Desk() {
		c.filter(&vezechat.TicketFilter{Requester: by.UserID}, by)
	}
	return fmt.Sprintf(selectTicketPage, c.where(), orderNewest, 51)
}
