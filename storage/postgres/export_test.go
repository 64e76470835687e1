package postgres

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
