package wire

// CloseCode is why a socket was closed. Codes of 4000 to 4499 ask the client to
// come back, 4500 and above to stay away; those of RFC 6455 §7.4.1 keep their
// meaning.
type CloseCode uint16

// The codes the hub sends.
const (
	CloseNormal      CloseCode = 1000
	CloseGoingAway   CloseCode = 1001
	CloseProtocol    CloseCode = 1002
	CloseUnsupported CloseCode = 1003 // binary
	CloseInvalidUTF8 CloseCode = 1007
	CloseTooBig      CloseCode = 1009

	CloseDrain       CloseCode = 4000 // this node is going away
	CloseSlow        CloseCode = 4001 // did not read for 10 s
	CloseNoPong      CloseCode = 4002
	CloseExpired     CloseCode = 4003 // token expired: refresh, then come back
	CloseServerError CloseCode = 4004
	CloseRate        CloseCode = 4007 // too many refused frames, or sockets opened
	CloseBadToken    CloseCode = 4500
	CloseBadClient   CloseCode = 4501 // does not speak veze.v1
	CloseBanned      CloseCode = 4502
	CloseReplaced    CloseCode = 4503 // too many sockets of one user
	CloseVersion     CloseCode = 4504
	CloseNoAuth      CloseCode = 4505 // no token within 10 s
)

// String names the code for metrics: a closed set.
func (c CloseCode) String() string {
	switch c {
	case 0:
		return "empty"
	case CloseNormal:
		return "normal"
	case CloseGoingAway:
		return "going_away"
	case CloseProtocol:
		return "protocol"
	case CloseUnsupported:
		return "unsupported"
	case CloseInvalidUTF8:
		return "invalid_utf8"
	case CloseTooBig:
		return "too_big"
	case CloseDrain:
		return "drain"
	case CloseSlow:
		return "slow"
	case CloseNoPong:
		return "no_pong"
	case CloseExpired:
		return "expired"
	case CloseServerError:
		return "server_error"
	case CloseRate:
		return "rate"
	case CloseBadToken:
		return "bad_token"
	case CloseBadClient:
		return "bad_client"
	case CloseBanned:
		return "banned"
	case CloseReplaced:
		return "replaced"
	case CloseVersion:
		return "version"
	case CloseNoAuth:
		return "no_auth"
	}
	return "other"
}
