// CommonJS users: prints the names of the root.
console.log(JSON.stringify(Object.keys(require('holdfast')).sort()))
