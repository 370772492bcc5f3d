// Loaded into the lab by `npm start`: when the process that started it is gone, even by SIGKILL, the pipe on fd 3 closes and the lab ends.
import { Socket } from 'node:net'
import process from 'node:process'

const GRACE_MS = 10_000

const leash = new Socket({ fd: 3, readable: true, writable: false })
leash.on('error', () => {})
leash.on('close', () => {
  // As a user would end it, so that it ends the servers it started.
  process.kill(process.pid, 'SIGTERM')
  setTimeout(() => process.exit(1), GRACE_MS).unref()
})
leash.resume()
leash.unref()
