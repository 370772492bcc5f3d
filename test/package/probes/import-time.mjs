// @ts-nocheck: a program for the packed package, in plain JavaScript
// Imports holdfast and holdfast/express in a process of its own and prints, as JSON, what that cost; with `trace`, what it loaded.
// Whoever runs a server has loaded `node:http`, which in Node 24 loads `node:tls` itself.
// oxlint-disable-next-line no-unassigned-import -- loaded for its cost, which is not ours
import 'node:http'
import { registerHooks } from 'node:module'

const loaded = []
if (process.argv[2] === 'trace') {
  registerHooks({
    load(url, context, next) {
      loaded.push(url)
      return next(url, context)
    },
  })
}
const before = new Set(process.moduleLoadList)
const startedAt = performance.now()
const cpuBefore = process.cpuUsage()
await import('holdfast')
await import('holdfast/express')
const cpu = process.cpuUsage(cpuBefore)
const ms = performance.now() - startedAt
const builtins = process.moduleLoadList.filter((name) => !before.has(name))
console.log(JSON.stringify({ ms, cpuMs: (cpu.user + cpu.system) / 1000, loaded, builtins }))
