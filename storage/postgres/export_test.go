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
