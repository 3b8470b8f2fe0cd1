import { Ajv2020, type AnySchema, type ValidateFunction } from "ajv/dist/2020.js";

/**
 * Makes ajv compile a schema only when its validator is first called. Returns a function that undoes this. Validators
 * that were made before that call stay as they are.
 */
export function compileLater(): () => void {
  const { compile } = Ajv2020.prototype;
  function compileLazily(this: Ajv2020, schema: AnySchema): ValidateFunction {
    let validator: ValidateFunction | undefined;
    const validate = (data: unknown) => {
      validator ??= compile.call(this, schema);
      return validator(data);
    };
    Object.defineProperty(validate, "errors", { get: () => validator?.errors });
    return validate as ValidateFunction;
  }
  Ajv2020.prototype.compile = compileLazily as typeof compile;
  return () => {
    Ajv2020.prototype.compile = compile;
  };
}

/**
 * Makes ajv compile at once again. The Kafka client compiles a schema for each of its calls while it is loaded, which
 * takes half a second of processor time in every process. So this module is loaded before the client, and this function
 * is called after it.
 */
export const compileAtOnce = compileLater();
