/** Whatever goes into a balancer's configuration: these letters and no others, so that nothing can end a string or add a line. */
const SERVER = /^[A-Za-z0-9.:_[\]-]{1,255}$/
const NODE = /^[A-Za-z0-9_-]{1,64}$/

/** Of a `host:port`, as balancers take it. */
export function serverProblem(server: string): string[] {
  return SERVER.test(server) ? [] : ['a server may hold letters, digits and . : _ [ ] - only, such as 10.0.0.1:3000.']
}

/** Of a server's name in a configuration and in route cookies. */
export function nodeProblem(node: string): string[] {
  return NODE.test(node) ? [] : ["a server's name may hold letters, digits, _ and - only, at most 64 of them."]
}
