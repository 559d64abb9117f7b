package registry

// Oldest takes the member that joined first: every process that sees the same revision takes the same one.
func Oldest() Strategy { return StrategyFunc(func(Choice) int { return 0 }) }
