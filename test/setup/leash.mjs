// Loaded into every process that `spawnNode` starts: when the test process is gone, the pipe on fd 3 closes and this process ends too.
import { Socket } from 'node:net'

const leash = new Socket({ fd: 3, readable: true, writable: false })
leash.on('error', () => process.exit(1))
leash.on('close', () => process.exit(1))
leash.resume()
leash.unref()
