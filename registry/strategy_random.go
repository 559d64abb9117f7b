package registry

import "math/rand/v2"

// Random takes any member, each as likely as another. It needs no memory, and many who choose at once do not choose alike.
func Random() Strategy { return StrategyFunc(random) }

func random(c Choice) int { return rand.IntN(len(c.Members)) }
