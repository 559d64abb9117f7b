package bus

// Headers of answers. An answer with HeaderError carries no result; the two Service headers say the same in the words of NATS services
// (micro), so that `nats req` and foreign clients understand it too.
const (
	HeaderError        = "Toolbus-Error"           // one of the codes in errors.go, such as "busy"
	HeaderServiceError = "Nats-Service-Error"      // a text for people
	HeaderServiceCode  = "Nats-Service-Error-Code" // like an HTTP status
)
